"""Pastes are text: what the terminal marks as pasted reaches the app without escape sequences and control characters.
Reads the terminal's input before the framework's parser does; knows no widget."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.message import Message

from tui.text import clean

_ESCAPE_SEQUENCES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement, key presses
    "|(?:\x1b\\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c|$)"  # OSC: titles, links, the clipboard
    "|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\\\|\x9c|$)"  # DCS, SOS, PM, APC
    "|\x1b[ -/]*[0-~]"  # all others, such as a key with Alt
)
"""Sequences of ECMA-48, whole: without the escape character alone, `[31m` would be left in the text."""


def plain(text: str) -> str:
    """A pasted text without escape sequences and control characters; line ends become `\\n`, tabs stay.

    >>> plain("\\x1b[31mred\\x1b[0m\\x07\\r\\nand\\ttab\\x1b]52;c;aGk=\\x07")
    'red\\nand\\ttab'
    """
    return clean(_ESCAPE_SEQUENCES.sub("", text))


class PasteSafeParser(XTermParser):
    """The framework's parser of terminal input, for which a paste holds no escape characters.

    Textual 8.2 looks for key sequences inside a paste too: what it does not know it passes on as key presses, so a
    pasted colour code would act on the app, and the text behind it would be lost.
    """

    _inside: list[str] | None = None
    """The pieces of a paste whose end has not come yet."""
    _last = ""
    """The last characters before or in a paste: its markers may come in pieces."""

    def feed(self, data: str) -> Iterable[Message]:
        """Parse the next input; the empty string ends it."""
        if not data:
            yield from super().feed(data)
            return
        for piece in self._without_sequences(data):
            yield from super().feed(piece)

    def _without_sequences(self, data: str) -> Iterator[str]:
        while data:
            marker = BRACKETED_PASTE_START if self._inside is None else BRACKETED_PASTE_END
            seen = self._last + data
            at = seen.find(marker)
            here = len(data) if at < 0 else at + len(marker) - len(self._last)
            piece, data = data[:here], data[here:]
            self._last = seen[-(len(marker) - 1) :] if at < 0 else ""
            if self._inside is None:
                yield piece
                if at >= 0:
                    self._inside = []
                continue
            self._inside.append(piece)
            if at >= 0:
                yield plain("".join(self._inside)[: -len(marker)]) + marker
                self._inside = None
