"""The training process: the only room with torch. Started with `python -m engine.work`; no other room imports it.
Importing this package is light; each step imports what it needs and says so first."""
