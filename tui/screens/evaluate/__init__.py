"""The Evaluate mode."""
