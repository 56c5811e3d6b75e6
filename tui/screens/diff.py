"""Two answers side by side with the words marked that only one of them has.
Draws tui.worddiff; compares nothing itself."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import keys
from tui.text import clean
from tui.widgets.key_bar import KeyBar
from tui.worddiff import Marked, word_diff

_ONLY = {"a": "bold underline $lane-a", "b": "bold underline $lane-b"}


class Diff(ModalScreen[None]):
    """`names` and `texts` are of the left and the right side."""

    CSS_PATH = "diff.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.BACK, keys.DIFF)

    def __init__(self, names: tuple[str, str], texts: tuple[str, str]) -> None:
        super().__init__()
        self._names, self._texts = names, texts

    def compose(self) -> ComposeResult:
        found = word_diff(*(clean(text).strip() for text in self._texts))
        yield Static(_summary(found.alike, *(len(text.split()) for text in self._texts)), id="diff-head")
        with Container(id="sides"):
            for side, name, marked in (("a", self._names[0], found.a), ("b", self._names[1], found.b)):
                with VerticalScroll(classes="side", id=f"side-{side}"):
                    yield Static(Content.styled(clean(name), f"bold $lane-{side}"), classes="side-name")
                    yield Static(_marked(marked, _ONLY[side]) or Content.styled("(nothing)", "$faint"))
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one("#side-a").focus()

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.width < 80, "-stacked")

    def action_back(self) -> None:
        self.dismiss(None)


def _summary(alike: float, words_a: int, words_b: int) -> Content:
    head = "The answers are the same, word for word." if alike == 1 else f"{alike:.0%} of the words are the same."
    return Content.assemble(
        (f" {head}", "bold"), (f"  {words_a} and {words_b} words. Underlined stands on one side only.", "$faint")
    )


def _marked(pieces: Marked, style: str) -> Content:
    return Content.assemble(*((text, style) if only else text for text, only in pieces))
