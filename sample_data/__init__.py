"""The sample data that ships with Tuningfork, found through importlib.resources; README.md says how it was made.
No code lives here."""
