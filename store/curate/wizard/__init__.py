"""Pairs made from a few answers or a table: who a model is (identity.py), and facts (facts.py).
The wordings are in one YAML file a language, read by texts.py; nothing here reads the store or writes anything."""
