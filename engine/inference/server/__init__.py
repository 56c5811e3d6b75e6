"""The chat server: an OpenAI-compatible process of its own that holds the models and answers both sides of a
comparison. Importing this package loads no model library; each backend imports its own on first use."""
