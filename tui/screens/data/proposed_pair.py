"""Edits one pair that is not saved yet: its question, its answer and, on a page of their own, its earlier turns.
Hands back the draft; pairs of the store are edited in pair_editor.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.widgets import Static

from store import pairs
from store.curate.wizard.proposed import form_of
from store.errors import BadInput
from store.records import PairDraft, Turn
from tui import formatting, keys
from tui.screens.base import PageScreen
from tui.screens.data.turns_editor import TurnsEditor
from tui.text import clean
from tui.widgets.prose import Prose


class ProposedPairEditor(PageScreen[PairDraft]):
    """Returns the draft with what was typed. Nothing is saved here, so going back keeps it; `made` is the draft before
    any change."""

    PAGE = "proposed_pair"
    CSS_PATH = "proposed_pair.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PROPOSED_PAIR)

    def __init__(self, draft: PairDraft, made: PairDraft) -> None:
        super().__init__()
        self._draft, self._made = draft, made

    def compose_body(self) -> ComposeResult:
        yield Static(id="heading", markup=False)
        yield Static(id="turns", markup=False)
        with Container(id="texts"):
            yield Prose("Question", id="question")
            yield Prose("Answer", id="answer")

    def on_mount(self) -> None:
        super().on_mount()
        heading = Content.assemble(("Pair to be saved", "bold"), f"  {form_of(self._made)}")
        self.query_one("#heading", Static).update(heading)
        self._fill(self._draft)
        self.query_one("#answer").focus()

    def _fill(self, draft: PairDraft) -> None:
        for name in ("question", "answer"):
            self.query_one(f"#{name}", Prose).fill(getattr(self._made, name), clean(getattr(draft, name)))
        self._take_turns(draft.history)

    def _take_turns(self, turns: tuple[Turn, ...]) -> None:
        self._draft = replace(self._draft, history=turns)
        line = self.query_one("#turns", Static)
        line.display = bool(turns)
        line.update(Content.assemble(f"After {formatting.count(len(turns), 'earlier turn')} ", ("F7", "bold $primary")))

    def action_turns(self) -> None:
        """Open the turns before the question."""
        self.app.push_screen(TurnsEditor(self._draft.history, self._made.history, self._take_turns))

    def action_revert(self) -> None:
        """Go back to the pair as it was made."""
        self._fill(self._made)

    def action_keep(self) -> None:
        self.action_back()

    def action_back(self) -> None:
        """Go back with what was typed, when it can be a pair."""
        texts: dict[str, Any] = {
            name: self.query_one(f"#{name}", Prose).result.strip() for name in ("question", "answer")
        }
        try:
            self.dismiss(pairs.check_draft(replace(self._draft, **texts)))
        except BadInput as error:
            self.tuningfork.notify(
                f"{error.what} Type it, or press ^R for the text as it was made.", severity="warning"
            )
            self.query_one(f"#{error.where}" if error.where in texts else "#answer").focus()
