"""The first line of every screen: the name, the modes with their keys, and what is running (a click lists it).
Drawn in one line; it is repainted often and must cost a slow link almost nothing."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from store.records import JobProgress
from tui import modes
from tui.keys import display
from tui.messages import LiveJobs
from tui.text import one_line

_ROOM = 20
"""Cells that what is running needs, to be read."""


class Masthead(Widget):
    """`mode` is the one shown; `live` is kept up to date by the app."""

    live: reactive[LiveJobs] = reactive(LiveJobs())

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def render(self) -> Content:
        named = Content.assemble((" Ψ ", "bold $primary"), ("Tuningfork", "bold"), "  ")
        left = self._modes(named)
        if self.size.width - left.cell_length <= _ROOM:  # what is running matters more than our name
            left = self._modes(Content.styled(" Ψ ", "bold $primary"))
        right = self._activity(self.size.width - left.cell_length - 1)
        gap = self.size.width - left.cell_length - right.cell_length
        return left + " " * max(1, gap) + right

    def _modes(self, left: Content) -> Content:
        for mode in modes.registered():
            label = f" {display(mode.key.first)} {mode.title} "
            if mode.name == self.mode:
                left += Content.assemble((label, "bold reverse $primary"))
            else:
                left += Content.from_markup(f"[@click=app.mode('{mode.name}')]$label[/]", label=label)
        return left

    def _activity(self, room: int) -> Content:
        live = self.live
        shown = [(run.name, run.state, JobProgress(done=run.step, total=run.total_steps or 0)) for run in live.runs]
        shown += [(f"{job.kind} {job.name}", job.state, job.progress) for job in live.jobs]
        if not shown:
            return Content.styled("nothing running " if room >= _ROOM - 1 else "", "$faint")
        others = len(shown) + live.queued - 1
        more = f" +{others}" if others else ""
        name, state, progress = shown[0]
        part = f" {progress.share:.0%}" if progress.share is not None else f" {state}"
        name = one_line(name, max(4, room - len(part) - len(more) - 3))
        said = Content.assemble(("● ", "$success"), (f"{name}{part}{more} ", "bold"))
        return said.stylize(Style.from_meta({"@click": "app.jobs"}))
