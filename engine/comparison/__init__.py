"""Comparing models side by side: sessions of lanes, streaming, transcripts. Pure state but for the stream runner."""
