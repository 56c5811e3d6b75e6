"""The body of Compare: panels of lanes, their tabs, the line of notes and votes, and the prompt below.
Draws a conversation and moves between its lanes; what changes the conversation is in the controllers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.timer import Timer
from textual.widgets import Static

from engine.comparison.answer import LaneAnswer
from tui.screens.compare import rendering as view
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.lane import Block, LaneView
from tui.screens.compare.lane_panel import LanePanel
from tui.screens.compare.prompt import PromptArea
from tui.screens.compare.redraw_timer import RedrawTimer
from tui.text import one_line
from tui.widgets.in_order import Field

_NOTE_S = 4.0
_HIDDEN = "The sides are hidden: vote first (1 left, 2 right, 3 tie, 4 both bad)."
MOVED_ROWS = 12
"""Rows a tick that views may redraw because they moved: of 80 columns about 2 KB."""
LANE_WIDTH = 50
"""Columns that a lane needs; where they do not all fit, some wait behind a key and stream on."""
_EVERYTHING = "everything"
_FIGURES = "figures"


class FindField(Field):
    """Where the text to find is typed; nothing is searched before Enter."""


class LanesPage(Vertical):
    """Shows a conversation. `check_result` gives the result of the lane check for the heading of a panel.

    `about` holds a paragraph on each model, for lanes without answers; `followed` the runs that are still
    being tuned, with the step of the newest checkpoint.
    """

    def __init__(self, conversation: Conversation, check_result: Callable[[int], str]) -> None:
        super().__init__()
        self._conversation, self._check_result = conversation, check_result
        self.prompt = PromptArea(id="prompt", placeholder="Ask something; Enter sends it to every lane")
        self.front = 0
        self.markdown = False
        self.followed: dict[str, int | None] = {}
        self.about: dict[str, str] = {}
        self.linked = True
        """Whether lanes scroll together: each shows the same turn, as far below its prompt."""
        self.progress: Callable[[], str] = str
        """How far a set of prompts is voted through, for the line of votes."""
        self._sought = ""
        self._note = ""
        self._note_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="tabs", markup=False)
        with Horizontal(id="lanes"):
            yield LanePanel(0)
        yield FindField(placeholder="Find in the conversation; Enter goes to the next", compact=True, id="find")
        yield Static(id="line", markup=False)
        yield self.prompt

    def on_mount(self) -> None:
        self._redraws = RedrawTimer(self, self._redraw)
        self.set_interval(1.0, self._tick)

    # -- panels -------------------------------------------------------------------------------------------------------

    async def match_panels(self) -> None:
        """As many panels as lanes, as many in view as fit."""
        lanes, panels = len(self._conversation.comparison.lanes), list(self.query(LanePanel))
        self.front = min(self.front, lanes - 1)  # before anything is awaited: the timer may redraw at any moment
        for panel in panels[lanes:]:
            await panel.remove()
        for position in range(len(panels), lanes):
            await self.query_one("#lanes").mount(LanePanel(position))
        self._arrange()
        self.draw()
        self.screen.refresh_bindings()

    def _arrange(self) -> None:
        """Show the panels that fit, the front one among them."""
        panels = list(self.query(LanePanel))
        fit = min(len(panels), max(1, self.size.width // LANE_WIDTH))
        first = min(max(0, self.front - fit + 1), len(panels) - fit)
        for n, panel in enumerate(panels):
            panel.display = first <= n < first + fit
            panel.set_class(first < n, "-divided")
        self.set_class(fit < len(panels), "-tabbed")
        self.set_class(fit == 1 < len(panels), "-alone")  # the tab is its heading

    @on(Resize)
    def _resized(self) -> None:
        self._arrange()
        self.draw()

    # -- drawing ------------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Draw everything from the conversation's state; what shows the same already costs next to nothing."""
        self._draw(None)

    def redraw_turn_soon(self, turn: int) -> None:
        """Draw a turn soon: an answer to it streams."""
        self._redraws.request(turn)

    def redraw_soon(self) -> None:
        """Draw everything soon."""
        self._redraws.request(_EVERYTHING)

    def _redraw(self, changes: set[Hashable]) -> None:
        changed = None if _EVERYTHING in changes else {change for change in changes if isinstance(change, int)}
        self._draw(changed, rows=MOVED_ROWS)

    def _draw(self, changed: Collection[int] | None, rows: int | None = None) -> None:
        """Draw the turns in `changed`, None being all of them, with headings, figures, tabs and the line below.

        With `rows`, views that move are drawn so many rows at a time: a whole lane at once would keep a key's echo from
        a slow link for longer than is noticed.
        """
        comparison, meters = self._conversation.comparison, self._conversation.runner.meters
        lanes, left = list(comparison.lanes.values()), rows
        at, how = self.position, self._how_keys_act
        for panel in list(self.query(LanePanel))[: len(lanes)]:
            position = panel.position
            blocks = panel.cache.blocks(comparison, position, markdown=self.markdown, changed=changed)
            drawn = panel.lane.show(blocks or [Block("note", view.about(lanes[position], self.about))], left)
            left = None if left is None else left - drawn
            meter = meters.get(view.lane_at(comparison, position).name)
            panel.set_texts(
                view.heading(
                    comparison,
                    position,
                    panel.size.width or LANE_WIDTH,
                    self._check_result(position),
                    self.followed,
                    how if position == at else None,
                ),
                view.figures(comparison, position, meter, panel.size.width - 2, panel.lane.following),
                target=position == at,
            )
            if panel.lane.moving:
                self._redraws.request(_FIGURES)
        if not self.query("#tabs"):  # a worker may end while the screen is being taken down
            return
        width = self.size.width
        self._update("#tabs", view.tabs(comparison, self.front, width, meters, self._check_result(self.front), how))
        line = self._notice() or view.ballot_line(
            comparison, width, in_prompt=self.prompt.has_focus, progress=self.progress()
        )
        settings = view.settings_line(comparison, width - line.cell_length - 4)
        self._update("#line", line + " " * (width - 2 - line.cell_length - settings.cell_length) + settings)

    def _update(self, selector: str, text: Content) -> None:
        widget = self.query_one(selector, Static)
        if widget.content != text:
            widget.update(text, layout=False)

    def toggle_markdown(self) -> None:
        """Show ended answers as Markdown, or as they were written again."""
        self.markdown = not self.markdown
        self.note(
            "Ended answers are shown as Markdown." if self.markdown else "Answers are shown as they were written."
        )

    def _tick(self) -> None:
        """The waiting time moves on even while no token comes."""
        if self._conversation.comparison.busy:
            self._redraws.request(_FIGURES)

    @on(LaneView.Followed)
    def _followed(self) -> None:
        self._redraws.request(_FIGURES)

    # -- notes --------------------------------------------------------------------------------------------------------

    def note(self, text: str, *, stays: bool = False) -> None:
        """Show something small in the line of votes, for a moment or until `unnote`: a notice covers the answers."""
        self._note = text
        if self._note_timer:
            self._note_timer.stop()
        self._note_timer = None if stays else self.set_timer(_NOTE_S, self.unnote)
        self.draw()

    def unnote(self) -> None:
        """Take the note away."""
        self._note = ""
        self.draw()

    def sides_hidden(self) -> bool:
        """True, with a note, while the sides of the last turn must not be shown."""
        turns = self._conversation.comparison.turns
        hidden = bool(turns) and turns[-1].hidden
        if hidden:
            self.note(_HIDDEN)
        return hidden

    def _notice(self) -> Content | None:
        if self._note:
            return Content.assemble(("• ", "$accent"), one_line(self._note, self.size.width - 4))
        if self.prompt.editing:
            leave = (" leaves it as it was", "$faint")
            return Content.assemble("Editing the last prompt.  ", ("Esc", "bold $primary"), leave)
        return None

    # -- scrolling and searching --------------------------------------------------------------------------------------

    def toggle_link(self) -> None:
        """Let lanes scroll together, or each by itself."""
        self.linked = not self.linked
        self.note("The lanes scroll together." if self.linked else "Each lane scrolls by itself.")

    @on(LaneView.Scrolled)
    def _scrolled(self, event: LaneView.Scrolled) -> None:
        if not self.linked:
            return
        for panel in self.query(LanePanel):
            if panel.lane is event.lane or not panel.display:
                continue
            if event.lane.following:
                panel.lane.follow()
            else:
                panel.lane.go_to(*event.lane.place())

    @property
    def finding(self) -> bool:
        """Whether there is a search."""
        return bool(self._sought)

    @property
    def asks_what_to_find(self) -> bool:
        """Whether letters go into the field for what to find."""
        return self.query_one(FindField).has_focus

    def open_find(self) -> None:
        """Ask for what to find."""
        field = self.query_one(FindField)
        field.display = True
        field.focus()

    @on(FindField.Submitted)
    def _find(self, event: FindField.Submitted) -> None:
        event.stop()
        self._sought = one_line(event.value, 200)
        self.query_one(FindField).display = False
        for panel in self.query(LanePanel):
            panel.lane.seek(self._sought)
        self.focus_front()
        if self._sought:
            self.match(1)
        self.screen.refresh_bindings()

    def match(self, step: int) -> None:
        """Go to the next place with the sought text in the lane that has the focus."""
        lane = self.panel(self.position).lane
        at, of = lane.go_to_match(step)
        others = sum(panel.lane.how_often() for panel in self.query(LanePanel) if panel.lane is not lane)
        found = f"{at} of {of}" if of else "nothing"
        more = f", {others} in the other lanes" if others else ""
        self.note(f"“{self._sought}”: {found} in this lane{more}", stays=True)

    def end_find(self) -> None:
        """Leave the search, or the field that asks for one."""
        self._sought = ""
        self.query_one(FindField).display = False
        for panel in self.query(LanePanel):
            panel.lane.seek("")
        self.unnote()
        self.focus_front()
        self.screen.refresh_bindings()

    # -- moving between lanes -----------------------------------------------------------------------------------------

    @property
    def panel_in_focus(self) -> LanePanel | None:
        """The panel that has the focus, if any."""
        return next((p for p in self.query(LanePanel) if p.lane.has_focus), None)

    @property
    def position(self) -> int:
        """The panel that an action without a side is about: the one in focus, else the front one."""
        focused = self.panel_in_focus
        return min(focused.position, len(self._conversation.comparison.lanes) - 1) if focused else self.front

    @property
    def _how_keys_act(self) -> view.Target:
        """How actions are about the panel at `position`: with letters, once a lane has the focus."""
        return "keys" if self.panel_in_focus else "prompt"

    def answer_in_front(self, what: str) -> tuple[str, int, LaneAnswer] | None:
        """(lane, turn, answer) of the last answer of the lane that keys are about; None, with a note, when there is
        none to be looked at. `what` is that, as the end of "An answer is still coming; ..."."""
        comparison = self._conversation.comparison
        if comparison.busy:
            self.note(f"An answer is still coming; {what} when it has ended.")
            return None
        if self.sides_hidden():
            return None
        found = view.last_answer(comparison, self.position)
        if found is None:
            self.note("This lane has not answered yet.")
        return found

    def panel(self, position: int) -> LanePanel:
        """The panel at a position, from the left."""
        return self.query_one(f"#panel-{position}", LanePanel)

    def focus_front(self) -> None:
        """Give the lane in front the focus."""
        self.panel(self.front).lane.focus()

    def follow(self) -> None:
        """Let every lane show its newest line."""
        for panel in self.query(LanePanel):
            panel.lane.follow()

    def swap(self, step: int = 1) -> None:
        """Bring another lane to the front, `step` to the right; the focus goes with it when it was in a lane."""
        in_lane = self.panel_in_focus is not None
        self.front = (self.position + step) % len(self._conversation.comparison.lanes)
        self._arrange()
        if in_lane:
            self.focus_front()
        self.screen.refresh_bindings()  # the bar names the lane that keys act on
        self.call_after_refresh(self.draw)  # only then the panel has a width to fill

    def on_descendant_focus(self) -> None:
        focused = self.panel_in_focus
        if focused is not None:
            self.front = focused.position
        self._redraws.request(_FIGURES)
