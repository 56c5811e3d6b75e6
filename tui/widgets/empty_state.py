"""Shown instead of an empty list: why it is empty, and the keys that fill it.
Literal text only."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from tui.keys import Key, display
from tui.text import clean

Hint = Key | tuple[str, str]
"""A key of tui.keys, or a key as it is written and what it does here."""


class EmptyState(Widget):
    """`say()` sets the sentence and the keys that help."""

    DEFAULT_CSS = """
    EmptyState { width: 1fr; height: 1fr; content-align: center middle; }
    """

    def __init__(self, title: str = "", hints: Sequence[Hint] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title, self._hints = title, hints

    def say(self, title: str, hints: Sequence[Hint] = ()) -> None:
        """Show this instead."""
        self._title, self._hints = title, hints
        self.refresh(layout=True)

    def render(self) -> Content:
        lines = [Content.styled(clean(self._title), "bold")]
        hints = [(display(h.first), h.help) if isinstance(h, Key) else h for h in self._hints]
        if hints:
            wide = max(len(key) for key, _ in hints)
            lines.append(Content(""))
            lines += [Content.assemble((key.rjust(wide), "bold $primary"), "  ", clean(text)) for key, text in hints]
        return Content("\n").join(lines)
