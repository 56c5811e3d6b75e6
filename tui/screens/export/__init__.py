"""The Export mode: make files of a run that other programs read."""
