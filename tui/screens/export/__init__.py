"""The Export mode: turn a run into files for other programs."""
