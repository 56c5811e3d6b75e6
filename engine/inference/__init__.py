"""Answers from models: the chat server, its backends, its client, sampling. Importing this package loads no model
library."""
