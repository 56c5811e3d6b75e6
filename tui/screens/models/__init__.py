"""Models, on top of any mode: list, add, prepare and remove them."""
