"""The Compare mode: models answer the same prompt side by side, and you vote for the better answer."""
