"""What a run leaves for other programs: adapters, merged models and GGUF files, each with its verification.
Nothing here imports torch; exports that need it run in `engine.training.worker`."""
