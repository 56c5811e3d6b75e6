"""Data sets of Hugging Face, on disk or on the hub, as files that an import can read.
The library datasets is imported by `python -m engine.hf_data.reader` alone, a process of its own."""
