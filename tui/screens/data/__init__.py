"""The Data mode: find, read, write and sort the pairs that a model learns from."""
