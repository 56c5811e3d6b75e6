"""Reading and writing GGUF: architectures, vocabularies, tensors, adapters. Knows nothing of chat or export."""
