"""The ways to run a model: llama.cpp, transformers, another server. Each backend is a module of its own, imported on
first use; `base` holds what they share."""
