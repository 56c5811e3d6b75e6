"""Shown when a pair was changed while it was edited: what is stored now, what was typed, and the choice between them.
What is stored always stays as a revision; what was typed is discarded only when the stored text is chosen."""

from __future__ import annotations

from typing import Literal, get_args

from textual.app import ComposeResult
from textual.widgets import Button, Static

from store.records import Pair, PairDraft
from tui import formatting
from tui.screens.dialogs.base import Dialog, button, text
from tui.text import clip, content, one_line

Choice = Literal["mine", "theirs", "both", "history"]


class ConflictDialog(Dialog[Choice]):
    """`mine`: save what was typed. `theirs`: keep what is stored. `both`: save what was typed as a
    pair beside it. `history`: look at the revisions first. None: keep editing."""

    def __init__(self, theirs: Pair, typed: PairDraft) -> None:
        super().__init__("This pair was changed while you edited it")
        self._theirs, self._typed = theirs, typed

    def compose_body(self) -> ComposeResult:
        pair, typed = self._theirs, self._typed
        yield text(
            f"Revision {pair.revision} was saved {formatting.ago(pair.updated_at)} ago.".replace("now ago", "just now")
        )
        yield Static(content(f"Stored now\n{_shown(pair, typed)}"), classes="theirs")
        yield Static(content(f"Typed here\n{_shown(typed, pair)}"), classes="mine")
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


def _shown(one: Pair | PairDraft, other: Pair | PairDraft) -> str:
    """The question and the answer, after the system text and the earlier turns where those of the other differ."""
    lines = [f"System: {clip(one.system, 200) or 'none'}"] if one.system != other.system else []
    if one.history != other.history:
        lines += [f"{n} {turn.role}: {one_line(turn.content, 100)}" for n, turn in enumerate(one.history, 1)]
        lines += [] if one.history else ["No earlier turns"]
    return "\n".join([*lines, clip(one.question, 200), f"→ {clip(one.answer, 400)}"])
