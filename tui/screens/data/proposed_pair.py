"""Edits one pair that is not saved yet: its question and its answer.
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
from store.records import PairDraft
from tui import formatting, keys
from tui.screens.base import PageScreen
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
        turns = self.query_one("#turns", Static)
        turns.display = bool(self._draft.history)
        turns.update(Content(f"After {formatting.count(len(self._draft.history), 'earlier turn')}, not editable here."))
        self._fill(self._draft)
        self.query_one("#answer").focus()

    def _fill(self, draft: PairDraft) -> None:
        for name in ("question", "answer"):
            self.query_one(f"#{name}", Prose).fill(getattr(self._made, name), clean(getattr(draft, name)))

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
