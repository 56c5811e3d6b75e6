"""Asks what to change in many pairs: their fields, or a text in them, which is shown before it is replaced.
Changes nothing itself; store.bulk does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from textual import on, work
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Button, Input, Static

from store import bulk
from store.bulk import BulkChange, Replaced, Replacement
from store.errors import TuningforkError
from store.records import KINDS, SPLITS, STATUSES
from tui import formatting
from tui.screens.dialogs.base import Dialog, button, text
from tui.text import one_line
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field
from tui.worddiff import inline

_TYPING_S = 0.3
_SHOWN = 6
_AROUND = 24
"""Characters of unchanged text that are shown on each side of a change."""


class ChangeDialog(Dialog[BulkChange]):
    """The change, or None."""

    def __init__(self, n: int, dataset: str | None) -> None:
        super().__init__(f"Change {formatting.count(n, 'pair')}")
        self._dataset = dataset or ""

    def compose_body(self) -> ComposeResult:
        yield Choice("Status", [("", "as it is"), *((each, each) for each in STATUSES)], id="status")
        yield Choice("Kind", [("", "as it is"), *((each, each) for each in KINDS)], id="kind")
        yield text("Add tags, separated by spaces", "caption")
        yield Field(compact=True, id="add")
        yield text("Remove tags", "caption")
        yield Field(compact=True, id="remove")
        yield text("Add to the dataset (created if missing)", "caption")
        yield Field(compact=True, id="dataset", placeholder="none")
        yield Choice("Move to split", [("", "as it is"), *((each, each) for each in SPLITS)], id="split")
        yield text("All of it is one change: u undoes it.", "hint")

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button("Change", "go", "primary")

    @on(Choice.Changed, "#split")
    def _split_chosen(self, event: Choice.Changed) -> None:
        """A split is that of a dataset: propose the listed one."""
        field = self.query_one("#dataset", Input)
        if event.value and not field.value:
            field.value = self._dataset

    def on_input_submitted(self) -> None:
        self._answer()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self._answer()
        else:
            self.dismiss(None)

    def _answer(self) -> None:
        chosen = {name: self.query_one(f"#{name}", Choice).value or None for name in ("status", "kind", "split")}
        typed = {name: self.query_one(f"#{name}", Input).value for name in ("add", "remove", "dataset")}
        change = BulkChange(
            **chosen,  # type: ignore[arg-type]  # the choices offer nothing else
            add_tags=tuple(dict.fromkeys(typed["add"].split())),
            remove_tags=tuple(dict.fromkeys(typed["remove"].split())),
            dataset=typed["dataset"].strip() or None,
        )
        if change == replace(change, status=None, kind=None, add_tags=(), remove_tags=(), dataset=None):
            self.tuningfork.notify("Choose what to change first.", severity="warning")
        else:
            self.dismiss(change)


class ReplaceDialog(Dialog[Replacement]):
    """The replacement, or None. While you type it shows what would become of the pairs."""

    def __init__(self, uids: Sequence[str]) -> None:
        super().__init__(f"Find and replace in {formatting.count(len(uids), 'pair')}")
        self._uids = uids
        self._ready = False

    def compose_body(self) -> ComposeResult:
        yield text("Find", "caption")
        yield Field(compact=True, id="find")
        yield text("Replace with", "caption")
        yield Field(compact=True, id="text")
        yield Choice("As", [("", "text"), ("regex", "regular expression")], id="regex")
        yield Choice("Case", [("", "as typed"), ("ignore", "any case")], id="case")
        fields = [
            ("question answer", "questions and answers"), ("question", "questions"), ("answer", "answers"),
            ("system", "system texts"), ("history", "earlier turns"), (" ".join(bulk.FIELDS), "all texts"),
        ]  # fmt: skip
        yield Choice("In", fields, id="fields")
        yield Static(id="seen", markup=False)

    def compose_buttons(self) -> ComposeResult:
        yield button("Cancel", "cancel")
        yield button("Replace", "go", "primary")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#find").focus()

    def _replacement(self) -> Replacement:
        return Replacement(
            self.query_one("#find", Input).value,
            self.query_one("#text", Input).value,
            bool(self.query_one("#regex", Choice).value),
            bool(self.query_one("#case", Choice).value),
            tuple(self.query_one("#fields", Choice).value.split()),
        )

    @on(Input.Changed)
    @on(Choice.Changed)
    def _typed(self) -> None:
        self._ready = False
        self._look()

    @work(group="preview", exclusive=True)
    async def _look(self) -> None:
        await asyncio.sleep(_TYPING_S)
        wanted, seen = self._replacement(), self.query_one("#seen", Static)
        if not wanted.find:
            seen.update("")
            return
        seen.update(Content.styled("Looking …", "$faint"))
        try:
            found = await self.tuningfork.bridge.call(bulk.preview, self._uids, wanted)
        except TuningforkError as error:
            seen.update(Content.styled(str(error), "$text-error"))
            return
        self._ready = found.pairs > 0
        seen.update(_shown(found))

    def on_input_submitted(self) -> None:
        self._answer()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self._answer()
        else:
            self.dismiss(None)

    def _answer(self) -> None:
        if self._ready:  # what is shown is what is done
            self.dismiss(self._replacement())


def _shown(found: Replaced) -> Content:
    if not found.pairs:
        return Content.styled("Found in no pair.", "$faint")
    lines = [Content(f"{formatting.count(found.found, 'place')} in {formatting.count(found.pairs, 'pair')}:")]
    lines += [marked(each.before, each.after) for each in found.samples[:_SHOWN]]
    return Content("\n").join(lines)


def marked(before: str, after: str, around: int | None = _AROUND) -> Content:
    """A text with what went struck out and what came in bold; of long unchanged parts only the ends are shown."""
    parts: list[Content] = []
    for piece, sign in inline(before, after):
        if sign:
            style = "strike $text-error" if sign == "-" else "bold $text-success"
            parts.append(Content.styled(one_line(piece, 200) if around else piece, style))
        elif around and len(piece) > 2 * around:
            head, tail = one_line(piece[:around], around) if parts else "", one_line(piece[-around:], around)
            parts.append(Content.styled(f"{head} … {tail} " if head else f"… {tail} ", "$faint"))
        else:
            parts.append(Content(one_line(piece, 4 * _AROUND) if around else piece))
    return Content("").join(parts)
