"""From tokens to the text that is sent: whole characters only, and nothing from a stop text on.
Pure state, shared by the backends."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Feed bytes, get text that may be shown.

    `stopped` becomes True when a stop text was met; what follows is discarded.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._stops = tuple(stops)
        self._held = ""  # may be the beginning of a stop text
        self.stopped = False

    def feed(self, raw: bytes, *, final: bool = False) -> str:
        """The text that is certain now; `final` returns the rest, with incomplete characters as U+FFFD."""
        if self.stopped:
            return ""
        text = self._held + self._decode(raw, final)
        cut = min((at for at in map(text.find, self._stops) if at >= 0), default=-1)
        if cut >= 0:
            self.stopped, self._held = True, ""
            return text[:cut]
        hold = 0 if final else self._undecided(text)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def _undecided(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop text."""
        longest = max(map(len, self._stops), default=1) - 1
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)


class Surrogates:
    """Joins the halves of a surrogate pair that came in two pieces; one that stays alone becomes U+FFFD.

    JSON spells characters beyond U+FFFF as two escapes, and some servers send one in each event.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str, *, final: bool = False) -> str:
        """The text that is certain now."""
        text = self._held + text
        self._held = "" if final or not "\ud800" <= text[-1:] <= "\udbff" else text[-1]
        text = text[: len(text) - len(self._held)]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
