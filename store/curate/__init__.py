"""Judging data before it is trained on: lint, duplicates, secrets, balance, split.
Pure functions over pairs; nothing here reads the store, a file or the clock."""
