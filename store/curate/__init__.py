"""Judging data before it is trained on: lint, duplicates, secrets, statistics, split; and pairs made for it.
Pure functions over pairs; nothing here reads the store, the clock or a file, but for the texts of wizard/."""
