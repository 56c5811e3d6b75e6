"""What random pastes are made of."""

from __future__ import annotations

PIECES = [
    "\x1b[A", "\x1b[31m", "\x1b[24~", "\x1b]52;c;aGk=\x07", "\x1bx", "\x1b", "\x07", "\x00", "\x03", "\x11", "\x1a",
    "\x7f", "\r", "\r\n", "\n", "\t", "\x1b[200~", "\x1b[13u", "\x1bOP", "q", "1", "wcu", "word ",
    "大语言模型", "👍", "\u202e", "\x9b1m",
]  # fmt: skip
"""What a paste is made of: keys and commands of terminals, control characters, and text between them."""
