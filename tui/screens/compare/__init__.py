"""The Compare mode: models answer the same prompt side by side, and you say which was better."""
