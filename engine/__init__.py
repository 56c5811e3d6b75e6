"""What happens to models: references, jobs, training, chat, evaluation, export.
The light part imports no torch and no transformers; only `engine.work` and the transformers chat backend do."""
