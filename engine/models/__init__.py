"""Models by reference: the grammar of references, the default model, preparing a folder, the chat template (the one
data path). Nothing here loads weights."""
