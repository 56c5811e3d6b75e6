"""Dialogs that more than one mode uses."""
