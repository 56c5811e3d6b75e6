"""The training process, the only package with torch: `python -m engine.training.worker`. No module imports it.
Importing this package is cheap: each step imports what it needs, after reporting that it does."""
