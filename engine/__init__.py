"""What happens to models: references, training, inference, comparison, evaluation, GGUF files, export.
Only `engine.training.worker` and the transformers backend import torch and transformers."""
