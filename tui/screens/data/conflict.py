"""Two hands on one pair: shows what is stored now and what was typed, and lets the person choose.
Nothing is lost either way: the store keeps every revision."""

from __future__ import annotations

from typing import Literal

from textual.app import ComposeResult
from textual.widgets import Button, Static

from store.records import Pair
from tui import formatting
from tui.screens.dialogs.base import Dialog, button, text
from tui.text import clip, content

Choice = Literal["mine", "theirs"]


class ConflictDialog(Dialog[Choice]):
    """`mine`: save what was typed over it. `theirs`: take what is stored. None: go on editing."""

    def __init__(self, theirs: Pair, question: str, answer: str) -> None:
        super().__init__("This pair was changed meanwhile")
        self._theirs, self._question, self._answer = theirs, question, answer

    def compose_body(self) -> ComposeResult:
        pair = self._theirs
        yield text(
            f"Revision {pair.revision} was saved {formatting.ago(pair.updated_at)} ago, while you were typing.".replace(
                "now ago", "just now"
            )
        )
        yield Static(content(f"Stored now\n{clip(pair.question, 200)}\n→ {clip(pair.answer, 400)}"), classes="theirs")
        yield Static(content(f"Typed here\n{self._question}\n→ {self._answer}"), classes="mine")
        yield text("Either way the other text stays among the pair's revisions, or in your draft.", "hint")

    def compose_buttons(self) -> ComposeResult:
        yield button("Go on editing", "back")
        yield button("Take theirs", "theirs")
        yield button("Save mine", "mine", "primary")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        choice = event.button.id
        self.dismiss("mine" if choice == "mine" else "theirs" if choice == "theirs" else None)
