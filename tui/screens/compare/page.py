"""The page of Compare: panels of lanes, their tabs, and the line of notes and votes below them.
Draws a conversation's state and moves between its lanes; what changes the conversation is compare_talk's."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Resize
from textual.timer import Timer
from textual.widgets import Static

from engine.comparison.session import Comparison
from engine.comparison.stream_runner import Duet
from engine.models import default_model
from tui import keys
from tui.screens.base import ModeScreen
from tui.screens.compare import rendering as view
from tui.screens.compare.lane import Block, Lane
from tui.screens.compare.lane_panel import LanePanel
from tui.screens.compare.prompt import Prompt
from tui.screens.compare.token_pump import TokenPump
from tui.text import one_line

_NOTE_S = 4.0
_HIDDEN = "The sides are hidden: vote first (1 left, 2 right, 3 tie, 4 both bad)."
MOVED_ROWS = 12
"""Rows a beat that views may redraw because they moved: of 80 columns about 2 KB."""
LANE_WIDTH = 50
"""Columns that a lane needs; where they do not all fit, some wait behind a key and stream on."""


class ComparePage(ModeScreen):
    """Lanes, the line of votes, and the prompt."""

    MODE = "compare"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.COMPARE)
    duet: Duet

    def __init__(self) -> None:
        super().__init__()
        self.talk = Comparison([default_model.NAME])
        self.front = 0
        self.markdown = False
        self.editing = False
        self.followed: dict[str, int | None] = {}
        self.about: dict[str, str] = {}
        self._note = ""
        self._noted: Timer | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="tabs", markup=False)
        with Horizontal(id="lanes"):
            yield LanePanel(0)
        yield Static(id="line", markup=False)
        yield Prompt(id="prompt", placeholder="Ask something; Enter sends it to every lane")

    def on_mount(self) -> None:
        self.pump = TokenPump(self, self._flush)
        self.set_interval(1.0, self._tick)

    # -- panels -------------------------------------------------------------------------------------------------------

    async def match_panels(self) -> None:
        """As many panels as lanes, as many in view as fit."""
        lanes, panels = len(self.talk.lanes), list(self.query(LanePanel))
        self.front = min(self.front, lanes - 1)  # before anything is awaited: the pump may draw at any moment
        for panel in panels[lanes:]:
            await panel.remove()
        for position in range(len(panels), lanes):
            await self.query_one("#lanes").mount(LanePanel(position))
        self._arrange()
        self.draw()
        self.refresh_bindings()

    def _arrange(self) -> None:
        """Show the panels that fit, the front one among them."""
        panels = list(self.query(LanePanel))
        fit = min(len(panels), max(1, self.size.width // LANE_WIDTH))
        first = min(max(0, self.front - fit + 1), len(panels) - fit)
        for n, panel in enumerate(panels):
            panel.display = first <= n < first + fit
            panel.set_class(first < n, "-divided")
        self.set_class(fit < len(panels), "-tabbed")

    @on(Resize)
    def _resized(self) -> None:
        self._arrange()
        self.draw()

    # -- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, *, sparing: bool = False) -> None:
        """Draw everything from the conversation's state; what did not change costs next to nothing.

        `sparing` draws views that move a few rows a beat: a whole lane at once would keep a key's echo from a slow
        link for longer than a person notices.
        """
        panels, rows = list(self.query(LanePanel)), MOVED_ROWS
        for panel in panels[: len(self.talk.lanes)]:
            position = panel.position
            about = view.about(list(self.talk.lanes.values())[position], self.about)
            blocks = view.blocks(self.talk, position, markdown=self.markdown) or [Block("note", about)]
            rows -= panel.lane.show(blocks, rows if sparing else None)
            meter = self.duet.meters.get(view.lane_at(self.talk, position).name)
            panel.say(
                view.heading(
                    self.talk, position, panel.size.width or LANE_WIDTH, self.proof_mark(position), self.followed
                ),
                view.figures(self.talk, position, meter, panel.size.width - 2, panel.lane.following),
            )
            if panel.lane.moving:
                self.pump.mark("the rest of the move")
        if not self.query("#tabs"):  # a worker may end while the screen is being taken down
            return
        width = self.size.width
        self._say("#tabs", view.tabs(self.talk, self.front, width, self.duet.meters, self.proof_mark(self.front)))
        left = self._notice() or view.ballot_line(
            self.talk, width, in_prompt=self.query_one(Prompt).has_focus, tabbed=self.has_class("-tabbed")
        )
        right = view.settings_line(self.talk, width - left.cell_length - 4)
        self._say("#line", left + " " * (width - 2 - left.cell_length - right.cell_length) + right)

    def _say(self, selector: str, text: Content) -> None:
        widget = self.query_one(selector, Static)
        if widget.content != text:
            widget.update(text, layout=False)

    def proof_mark(self, position: int) -> str:
        """What the heading of a panel says of the proof."""
        return ""

    def note(self, text: str, *, stays: bool = False) -> None:
        """Say something small in the line of votes, for a moment or until `unnote`; a notice would hide the answers."""
        self._note = text
        if self._noted:
            self._noted.stop()
        self._noted = None if stays else self.set_timer(_NOTE_S, self.unnote)
        self.draw()

    @property
    def sides_hidden(self) -> bool:
        """True, and said to the person, while the sides of the last turn must not be known."""
        hidden = bool(self.talk.turns) and self.talk.turns[-1].hidden
        if hidden:
            self.note(_HIDDEN)
        return hidden

    def back_word(self) -> str | None:
        if self.talk.busy:
            return "Stop"
        if self.editing:
            return "Leave"
        return "Prompt" if self.panel_in_focus else None

    def unnote(self) -> None:
        """Take the note away."""
        self._note = ""
        self.draw()

    def action_markdown(self) -> None:
        """Show ended answers as Markdown, or literally again."""
        self.markdown = not self.markdown
        self.note(
            "Ended answers are shown as Markdown." if self.markdown else "Answers are shown as they were written."
        )

    def _notice(self) -> Content | None:
        if self._note:
            return Content.assemble(("• ", "$accent"), one_line(self._note, self.size.width - 4))
        if self.editing:
            leave = (" leaves it as it was", "$faint")
            return Content.assemble("Editing the last prompt.  ", ("Esc", "bold $primary"), leave)
        return None

    def _flush(self, lanes: set[str]) -> None:
        self.draw(sparing=True)

    def _tick(self) -> None:
        """The waiting time moves on even while no token comes."""
        if self.talk.busy:
            self.pump.mark("time")

    @on(Lane.Followed)
    def _followed(self) -> None:
        self.pump.mark("figures")

    # -- moving between lanes -----------------------------------------------------------------------------------------

    @property
    def panel_in_focus(self) -> LanePanel | None:
        """The panel that has the focus, if any."""
        return next((p for p in self.query(LanePanel) if p.lane.has_focus), None)

    @property
    def position(self) -> int:
        """The panel that an action without a side is about: the one in focus, else the front one."""
        focused = self.panel_in_focus
        return min(focused.position, len(self.talk.lanes) - 1) if focused else self.front

    def _panel(self, position: int) -> LanePanel:
        return self.query_one(f"#panel-{position}", LanePanel)

    def action_swap(self) -> None:
        """Bring the next lane to the front; the focus goes with it when it was in a lane."""
        in_lane = self.panel_in_focus is not None
        self.front = (self.position + 1) % len(self.talk.lanes)
        self._arrange()
        if in_lane:
            self._panel(self.front).lane.focus()
        self.call_after_refresh(self.draw)  # only then the panel has a width to fill

    def on_descendant_focus(self) -> None:
        focused = self.panel_in_focus
        if focused is not None:
            self.front = focused.position
        self.pump.mark("focus")
