"""The text that each token adds, one after another: for streams, and for showing rows token by token.
Pure state over any tokenizer's decoder."""

from __future__ import annotations

from collections.abc import Callable


class TokenText:
    """The text that each token adds, for tokenizers that decode a token differently by its neighbours.

    `decode` gives the text of a list of ids. Only the last few ids are decoded again, first without the new token and
    then with it; what the second adds to the first is new, unless it ends in an unfinished character. This is the way
    of vLLM's and text-generation-inference's detokenizers. It never fails: the `DecodeStream` of tokenizers raises
    "Invalid prefix encountered" where a decoder changes what it said before.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._from, self._read = 0, 0

    def feed(self, token: int) -> str:
        """The text that is certain with this token."""
        self._ids.append(token)
        return self._next(final=False)

    def rest(self) -> str:
        """The remaining text at the end, with incomplete characters as U+FFFD."""
        return self._next(final=True)

    def _next(self, *, final: bool) -> str:
        said = self._decode(self._ids[self._from : self._read])
        now = self._decode(self._ids[self._from :])
        if not final and (now.endswith("\ufffd") or len(now) <= len(said)):
            return ""
        self._from, self._read = self._read, len(self._ids)
        return now[len(said) :]
