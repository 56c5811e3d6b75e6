"""The first line of every screen: the name, the modes with their keys, and what is running.
Drawn by hand in one line; it is repainted often and must cost a slow link nothing."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui import modes
from tui.keys import display
from tui.messages import LiveRuns
from tui.text import one_line


class Masthead(Widget):
    """`mode` is the one shown; `live` is kept up to date by the app."""

    live: reactive[LiveRuns] = reactive(LiveRuns())

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def render(self) -> Content:
        left = Content.assemble((" Ψ ", "bold $primary"), ("Tuningfork", "bold"), "  ")
        for mode in modes.registered():
            label = f" {display(mode.key.first)} {mode.title} "
            if mode.name == self.mode:
                left += Content.assemble((label, "bold reverse $primary"))
            else:
                left += Content.from_markup(f"[@click=app.mode('{mode.name}')]$label[/]", label=label)
        right = self._activity(self.size.width - left.cell_length - 1)
        gap = self.size.width - left.cell_length - right.cell_length
        return left + " " * max(1, gap) + right

    def _activity(self, room: int) -> Content:
        live = self.live
        if not live.runs and not live.exported:
            return Content.styled("nothing running " if room > 18 else "", "$faint")
        others = len(live.runs) + live.queued + len(live.exported) - 1
        more = f" +{others}" if others else ""
        if live.runs:
            run = live.runs[0]
            name = run.name
            part = f" {100 * run.step // run.total_steps}%" if run.total_steps else f" {run.state}"
        else:
            name, part = live.exported[0], " export"
        name = one_line(name, max(4, room - len(part) - len(more) - 3))
        return Content.assemble(("● ", "$success"), (f"{name}{part}{more} ", "bold"))
