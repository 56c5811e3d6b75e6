"""Writes a new probe or changes one: the question, what a good answer contains, its judge.
Only edits and checks; the caller says how a probe is saved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from engine.evaluation import judges
from store.errors import BadInput
from store.probe_files import ProbeFile
from store.records import Probe
from tui import keys
from tui.screens.base import PageScreen, show_errors
from tui.screens.dialogs.confirm import Confirm
from tui.screens.evaluate import probe_editing
from tui.text import clean, one_line
from tui.widgets.choice import Choice
from tui.widgets.in_order import Field
from tui.widgets.prose import Prose

Save = Callable[[Probe], Awaitable[None]]
_TEXTS = ("question", "system", "reference", "rubric")
_LISTS = ("must", "must_not")


class ProbeEditor(PageScreen[Probe]):
    """A probe of the set `name`, None for a new one. `save` keeps what was written; it raises TuningforkError where
    that fails, and the editor stays. Returns the probe as it was saved, or None."""

    PAGE = "probe"
    CSS_PATH = "probe_editor.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.PROBE)

    def __init__(self, name: str, whole: ProbeFile, probe: Probe | None, save: Save) -> None:
        super().__init__()
        self._set, self._whole, self._new, self._save = name, whole, probe is None, save
        self._before = probe or Probe(name, "", ())
        self._saving = False

    def compose_body(self) -> ComposeResult:
        own = self._whole.judge or judges.DEFAULT.name
        names = [("", f"that of the set ({own})"), *((name, name) for name in judges.JUDGES)]
        if self._before.judge and self._before.judge not in judges.JUDGES:
            names.append((self._before.judge, self._before.judge))
        yield Static(id="heading", markup=False)
        yield Prose("Question", id="question")
        with Horizontal(id="lists"):
            yield Prose("Good with any of (one per line)", id="must")
            yield Prose("Bad with any of (one per line)", id="must_not")
        yield Prose("System text (optional)", id="system")
        with Horizontal(id="grading"):
            yield Prose("For judge model: a good answer", id="reference")
            yield Prose("For judge model: rubric", id="rubric")
        with Horizontal(id="line"):
            yield Choice("Judge", names, self._before.judge, id="judge")
            yield Static(" Same facts as ", classes="label")
            yield Field(id="same", compact=True, placeholder="a name for the group")

    def on_mount(self) -> None:
        super().on_mount()
        probe = self._before
        for name in _TEXTS:
            self.query_one(f"#{name}", Prose).fill(getattr(probe, name))
        for name in _LISTS:
            terms, field = getattr(probe, name), self.query_one(f"#{name}", Prose)
            field.fill("\n".join(terms))
            if any("\n" in term for term in terms):
                field.read_only, field.border_subtitle = True, "a line break in a text: edit the file"
        self.query_one("#same", Input).value = clean(probe.same)
        what = "New probe" if self._new else "Probe"
        self.query_one("#heading", Static).update(
            Content.assemble((what, "bold"), " of ", (one_line(self._set, 40), "$primary"))
        )
        self.query_one("#question").focus()

    @property
    def written(self) -> Probe:
        """What the fields say."""
        texts = {name: self.query_one(f"#{name}", Prose).result for name in _TEXTS}
        for name in ("reference", "rubric"):
            texts[name] = texts[name].strip()
        same = self.query_one("#same", Input).value
        return replace(
            self._before,
            question=texts["question"], system=texts["system"], reference=texts["reference"], rubric=texts["rubric"],
            must=self._terms("must"), must_not=self._terms("must_not"), judge=self.query_one("#judge", Choice).value,
            same=self._before.same if same == clean(self._before.same) else same.strip(),
        )  # fmt: skip

    def _terms(self, name: str) -> tuple[str, ...]:
        field = self.query_one(f"#{name}", Prose)
        before: tuple[str, ...] = getattr(self._before, name)
        return tuple(line for line in field.text.split("\n") if line.strip()) if field.changed else before

    @property
    def changed(self) -> bool:
        """Whether something is written that is not saved."""
        return self.written != self._before

    @work(group="save")
    @show_errors
    async def action_save(self) -> None:
        """Check the probe, save it and go back."""
        if self._saving:
            return
        made = self.written
        try:
            probe_editing.check(made, self._whole)
        except BadInput as error:
            self.tuningfork.notify_error(error)
            self.query_one(f"#{error.where}").focus()
            return
        self._saving = True
        try:
            if made != self._before:
                await self._save(made)
            self.dismiss(made)
        finally:
            self._saving = False

    @work(group="leave", exclusive=True)
    async def action_back(self) -> None:
        """Go back; ask first where something was written."""
        if self._saving:
            return
        if self.changed and not await self.app.push_screen_wait(
            Confirm(
                "Leave this probe unsaved?", f"What you wrote is lost: {one_line(self.written.question, 60)}", "Leave"
            )
        ):
            return
        self.dismiss(None)

    def quit_notice(self) -> str | None:
        return "The probe that you edit is not saved: ^S saves it." if self.changed else None
