"""What runs, what waits and what has ended lately: training runs, exports and every other job, in one list.
Stops one; Enter goes to the screen that shows it."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from engine import job_list
from engine.job_list import JobView
from store.errors import TuningforkError
from store.records import state_word
from tui import formatting, keys
from tui.export_summary import stage
from tui.screens.dialogs.base import Dialog, text
from tui.text import clean, fit, one_line

_EVERY_S = 0.5
_SHOWN = 12
_ROOM = 52  # cells of a line inside the box
_MODE = {job_list.TRAINING: "train", "export": "export", "evaluation": "evaluate"}
_SIGN = {
    "succeeded": ("✓", "$success"), "failed": ("✗", "$error"), "lost": ("✗", "$error"), "stopped": ("–", "$faint"),
    "queued": ("·", "$faint"),
}  # fmt: skip


class JobsDialog(Dialog[None]):
    """Looks again twice a second while it is open."""

    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.JOBS)
    DEFAULT_CSS = """
    JobsDialog .buttons { display: none; }
    """

    def __init__(self) -> None:
        super().__init__("Jobs")
        self._views: list[JobView] = []

    def compose_body(self) -> ComposeResult:
        yield OptionList(id="jobs", compact=True, markup=False)
        yield text("s stops a job · Enter goes to its screen · Esc closes", "hint")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(OptionList).focus()
        self.set_interval(_EVERY_S, self.look)
        self.look()

    @work(group="jobs", exclusive=True)
    async def look(self) -> None:
        """Read the list again; the cursor stays on its job."""
        views = await self.tuningfork.bridge.call(job_list.listed, _SHOWN)
        options = self.query_one(OptionList)
        at = self._selected
        if not views:
            options.clear_options().add_option(Option(Content.styled("Nothing has run yet.", "$faint"), disabled=True))
        elif [v.ref for v in views] == [v.ref for v in self._views]:
            for view in views:
                options.replace_option_prompt(view.ref, _line(view))
        else:
            options.clear_options().add_options([Option(_line(view), id=view.ref) for view in views])
            refs = [view.ref for view in views]
            options.highlighted = refs.index(at.ref) if at is not None and at.ref in refs else 0
        self._views = views

    @property
    def _selected(self) -> JobView | None:
        at = self.query_one(OptionList).highlighted
        return self._views[at] if at is not None and at < len(self._views) else None

    @work(group="stop")
    async def action_stop(self) -> None:
        """Ask the selected job to stop; the list shows when it has."""
        view = self._selected
        if view is None:
            return
        self.tuningfork.notify(f"Stopping the {view.kind} {view.name} …")
        try:
            await self.tuningfork.bridge.job(job_list.stop, view.ref)
        except TuningforkError as error:
            self.tuningfork.notify_error(error)
        self.look()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        view = self._selected
        if view is not None and view.kind in _MODE:
            self.dismiss(None)
            self.tuningfork.action_mode(_MODE[view.kind])


def _line(view: JobView) -> Content:
    """`● export ember  gguf q8_0 (1 of 2), writing 40% · 8 s left`"""
    sign, style = _SIGN.get(view.state, ("●", "$success"))
    now = view.progress
    if view.is_over:
        note = f"{state_word(view.state)} {formatting.ago(view.ended_at or view.created_at)}"
    else:
        share = f"{now.share:.0%}" if now.share is not None else ""
        left = f" · {formatting.left(now.seconds_left)}" if now.seconds_left is not None else ""
        note = " ".join(filter(None, (stage(now) if view.state == "running" else view.state, share))) + left
    name = " ".join(filter(None, (view.kind, view.name, "" if view.is_over else now.part)))
    room = _ROOM - 2 - len(note) - 1
    return Content.assemble((sign, style), " ", fit(clean(name), max(8, room)), " ", (one_line(note, _ROOM), "$faint"))
