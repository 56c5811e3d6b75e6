"""The training process, the only package with torch: `python -m engine.training.worker`. Nobody imports it.
Importing this package is light; each step imports what it needs and says so first."""
