"""Widgets that more than one screen could use.
A widget is given what it shows; it never opens the store."""
