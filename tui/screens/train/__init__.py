"""The Train mode: start runs, watch them, stop and resume them."""
