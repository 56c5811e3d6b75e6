"""Shown when a pair was changed while it was edited: what is stored now, what was typed, and the choice between them.
What is stored always stays as a revision; what was typed is discarded only when the stored text is chosen."""

from __future__ import annotations

from typing import Literal, get_args

from textual.app import ComposeResult
from textual.widgets import Button, Static

from store.records import Pair
from tui import formatting
from tui.screens.dialogs.base import Dialog, button, text
from tui.text import clip, content

Choice = Literal["mine", "theirs", "both", "history"]


class ConflictDialog(Dialog[Choice]):
    """`mine`: save what was typed. `theirs`: keep what is stored. `both`: save what was typed as a
    pair beside it. `history`: look at the revisions first. None: keep editing."""

    def __init__(self, theirs: Pair, question: str, answer: str) -> None:
        super().__init__("This pair was changed while you edited it")
        self._theirs, self._question, self._answer = theirs, question, answer

    def compose_body(self) -> ComposeResult:
        pair = self._theirs
        yield text(
            f"Revision {pair.revision} was saved {formatting.ago(pair.updated_at)} ago.".replace("now ago", "just now")
        )
        yield Static(content(f"Stored now\n{clip(pair.question, 200)}\n→ {clip(pair.answer, 400)}"), classes="theirs")
        yield Static(content(f"Typed here\n{self._question}\n→ {self._answer}"), classes="mine")
        yield text(
            "Save mine: theirs stays as an earlier revision. Keep theirs: your text is discarded. "
            "History: what changed in each revision. Keep both: yours becomes a pair of its own in the same datasets.",
            "hint",
        )

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "back")
        yield button("History", "history")
        yield button("Keep theirs", "theirs")
        yield button("Keep both", "both")
        yield button("Save mine", "mine", "primary")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        choices: dict[str | None, Choice] = {each: each for each in get_args(Choice)}
        self.dismiss(choices.get(event.button.id))
