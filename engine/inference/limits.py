"""Limits that the client, the server, comparisons and screens share, each said once.
Constants only; the code that enforces one names it."""

from __future__ import annotations

LANE_NAMES = "abcd"
"""The lanes of a comparison, in order."""
LONGEST_PROMPT = 100_000
"""Characters of one prompt. No model here reads more, and a terminal would choke on showing it."""
LONGEST_LANE = 200
"""Characters of the name under which the server keeps a conversation's prefix."""
PENALTY_WINDOW = 64
"""Tokens of the answer that a repetition penalty looks back at, on every backend (llama.cpp's own default)."""
BACKENDS = ("auto", "llama.cpp", "transformers")
"""What may be asked for to run models; auto takes llama.cpp wherever that is possible."""
CONTEXT = 8192
"""Tokens of one conversation at most, unless the server's --context says otherwise."""
MAX_BODY = 1_000_000
"""Bytes of one request. No context here holds more."""
TO_CONTEXT_END = 1_000_000
"""The `max_tokens` of an answer that may go on to the end of the context."""
LONGEST_SCHEMA = 50_000
"""Characters of a JSON schema for an answer."""
