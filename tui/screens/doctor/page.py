"""What Tuningfork needs on this machine, each check as soon as it is done.
The checks are engine.doctor's, as for `tuningfork doctor`."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from engine import doctor
from engine.doctor import Diagnosis
from store.db import Store
from tui import keys
from tui.bridge import Left
from tui.screens.base import PageScreen
from tui.widgets.flow import Flow
from tui.widgets.line_list import LineList

_SIGN = {"ok": ("✓", "$success"), "warn": ("!", "$warning bold"), "fail": ("✗", "$error bold")}
_NAME = 16


class DoctorPage(PageScreen[None]):
    """One entry a check: its sign, its name, what was found, and what to do."""

    PAGE = "doctor"
    CSS_PATH = "page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.DOCTOR)

    def __init__(self) -> None:
        super().__init__()
        self._found: list[Diagnosis] = []
        self._busy = self._gone = False

    def compose_body(self) -> ComposeResult:
        yield Static(id="doctor-title", markup=False)
        yield LineList(id="checks")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(LineList).focus()
        self.action_again()

    def on_unmount(self) -> None:
        self._gone = True

    def on_resize(self) -> None:
        """Sentences are wrapped for the width there is."""
        self._draw()

    def working(self) -> str:
        return "checking" if self._busy else ""

    def can_act(self, action: str) -> bool:
        return not self._busy if action == "again" else True

    def key_word(self, id: str) -> str | None:
        return "" if id == "lines.open" else super().key_word(id)

    @work(group="doctor")
    async def action_again(self) -> None:
        """Check everything, behind other long work."""
        self._busy, self._found = True, []
        self._draw()
        try:
            await self.tuningfork.bridge.job(self._examine)
        except Left:
            return
        self._busy = False
        self._draw()

    def _examine(self, store: Store) -> None:
        for check in doctor.examine(store.home):
            if self._gone:
                raise Left
            self.app.call_from_thread(self._add, check)

    def _add(self, check: Diagnosis) -> None:
        self._found.append(check)
        if not self._gone:
            self._draw()

    def _draw(self) -> None:
        title, listed = self.query_one("#doctor-title", Static), self.query_one(LineList)
        after = "torch takes some seconds …" if self._found else "one check after the other …"
        head = f"Checking this machine: {after}" if self._busy else doctor.verdict(self._found)
        title.update(Content.styled(head, "bold"))
        at = listed.highlighted or 0
        listed.clear_options()
        listed.add_options([Option(_drawn(check, self.size.width - 6)) for check in self._found])
        if self._found:
            listed.highlighted = min(at, len(self._found) - 1)
        self.refresh_bindings()

    def action_back(self) -> None:
        self.dismiss(None)


def _drawn(check: Diagnosis, width: int) -> Content:
    """The check, its sentences wrapped beside its name."""
    found = Flow(width - _NAME - 4, check.what)
    todo = Flow(width - _NAME - 6, check.todo)
    lines = [Content(found.line(n)) for n in range(len(found))]
    lines += [Content.styled(f"{'  ' if n else '→ '}{todo.line(n)}", "$warning") for n in range(len(todo))]
    head = Content.assemble(_SIGN[check.mark], f" {check.name:<{_NAME}}  ")
    return Content("\n").join([head + lines[0], *(Content(" " * (_NAME + 4)) + line for line in lines[1:])])
