"""The talking half of Compare: lanes, prompt, streams, and the conversation kept as it goes.
Turns keys into changes of engine.compare and draws what follows; votes and keeping answers are other modules'."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Resize, ScreenResume
from textual.timer import Timer
from textual.widgets import Static

from engine import refs, transcripts
from engine.compare import LONGEST_PROMPT, Comparison, Request
from engine.duet import ChatClient, Duet
from engine.transcripts import Transcript
from store.errors import TuningforkError
from tui import keys
from tui.screens import compare_view as view
from tui.screens.base import ModeScreen, told
from tui.screens.compare_about import about
from tui.text import one_line
from tui.widgets.lane import Block, Lane
from tui.widgets.lane_panel import LanePanel
from tui.widgets.prompt import Prompt
from tui.widgets.token_pump import TokenPump

_NOTE_S = 4.0
_ABOUT_A_TURN = frozenset(
    ("again", "reseed", "edit", "keep", "keep_over", "question", "correct", "copy", "fork", "transcript")
)
MOVED_ROWS = 12
"""Rows a beat that views may redraw because they moved: of 80 columns about 2 KB."""
LANE_WIDTH = 50
"""Columns that a lane needs; where they do not all fit, some wait behind a key and stream on."""


class CompareTalk(ModeScreen):
    """Lanes, the line of votes, and the prompt."""

    MODE = "compare"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.COMPARE)

    def __init__(self) -> None:
        super().__init__()
        self.talk = Comparison(["smollm2-135m"])
        self.transcript = Transcript()
        self.front = 0
        self.lanes_chosen = False  # somebody chose the lanes, so they stay as they are
        self.markdown = False
        self._note = ""
        self._noted: Timer | None = None
        self._editing = False
        self._writing = asyncio.Lock()
        self._about: dict[str, str] = {}
        self.followed: dict[str, int | None] = {}

    def compose_body(self) -> ComposeResult:
        yield Static(id="tabs", markup=False)
        with Horizontal(id="lanes"):
            yield LanePanel(0)
        yield Static(id="line", markup=False)
        yield Prompt(id="prompt", placeholder="Ask something; Enter sends it to every lane")

    def on_mount(self) -> None:
        self.duet = Duet(self.talk, self._connect, on_change=self._changed, on_end=self._ended)
        self.pump = TokenPump(self, self._flush)
        self.set_interval(1.0, self._tick)
        self.query_one(Prompt).focus()

    async def on_unmount(self) -> None:
        await self.duet.close()

    async def _connect(self) -> ChatClient:
        from engine.client import Client  # httpx costs 0.1 s: not before it is needed

        return await Client.connect(self.tuningfork.store.home)

    # -- which lanes --------------------------------------------------------------------------------------------------

    @on(ScreenResume)
    def _resumed(self) -> None:
        if not self.lanes_chosen and self.talk.empty:
            self._choose_lanes()

    @work(group="lanes", exclusive=True)
    async def _choose_lanes(self) -> None:
        """The base and the newest run, while nothing was said or chosen."""
        known = await self.tuningfork.bridge.call(refs.known)
        tuned = next((ref for ref in known if ref.startswith("run:")), None)
        base = known[0] if known else "smollm2-135m"
        if tuned:
            base = await self.base_of(tuned, base)
        if self.lanes_chosen or not self.talk.empty:  # after the last wait: a person was quicker
            return
        await self.begin(self._with([base, tuned] if tuned else [base]))

    async def base_of(self, ref: str, otherwise: str) -> str:
        try:
            found = await self.tuningfork.bridge.call(refs.resolve, ref)
        except TuningforkError:
            return otherwise
        return found.base.ref if found.base else otherwise

    async def open_with(self, *models: str) -> None:
        """A new conversation with these lanes; the one before stays in the store."""
        self.lanes_chosen = True
        await self.begin(self._with(models))
        self.query_one(Prompt).focus()

    def _with(self, models: Sequence[str]) -> Comparison:
        """An empty conversation with these models, otherwise set as the one before."""
        old, seed = self.talk, random.getrandbits(31)
        return Comparison(models, system=old.system, sampling=old.sampling, blind=old.blind, blind_seed=seed)

    async def begin(self, talk: Comparison, transcript: Transcript | None = None) -> None:
        """Go on with another conversation; `transcript` is what the store has of it."""
        self._keep()
        self.talk = talk
        self.transcript = transcript or Transcript()
        self.duet.replace(self.talk)
        self._editing = False
        await self.match_panels()
        self.describe()

    @work(group="describe", exclusive=True)
    async def describe(self) -> None:
        """Find out what to say of each lane while nothing was said in it."""
        models = [lane.model for lane in self.talk.lanes.values()]
        self._about |= await self.tuningfork.bridge.call(about, models)
        self.followed = await self.tuningfork.bridge.call(refs.followed, models)
        self.draw()

    async def match_panels(self) -> None:
        """As many panels as lanes, as many in view as fit."""
        lanes, panels = len(self.talk.lanes), list(self.query(LanePanel))
        for panel in panels[lanes:]:
            await panel.remove()
        for position in range(len(panels), lanes):
            await self.query_one("#lanes").mount(LanePanel(position))
        self.front = min(self.front, lanes - 1)
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
            about = view.about(list(self.talk.lanes.values())[position], self._about)
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
        if self._editing:
            leave = (" leaves it as it was", "$faint")
            return Content.assemble("Editing the last prompt.  ", ("Esc", "bold $primary"), leave)
        return None

    def _changed(self, lane: str) -> None:
        self.pump.mark(lane)

    def _flush(self, lanes: set[str]) -> None:
        self.draw(sparing=True)

    def _tick(self) -> None:
        """The waiting time moves on even while no token comes."""
        if self.talk.busy:
            self.pump.mark("time")

    @on(Lane.Followed)
    def _followed(self) -> None:
        self.pump.mark("figures")

    # -- talking ------------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Carry a change of the conversation out: streams, store, screen."""
        self.duet.sync()
        self._keep()
        self.draw()
        self.refresh_bindings()

    @on(Prompt.Sent)
    def _sent(self, event: Prompt.Sent) -> None:
        try:
            if self._editing:
                self.talk.edit_last(event.text)
            else:
                self.talk.send(event.text)
        except TuningforkError as error:
            self.tuningfork.tell_error(error)
            return
        self._editing, self._note = False, ""
        prompt = self.query_one(Prompt)
        prompt.remember(event.text)
        prompt.fill("")
        for panel in self.query(LanePanel):
            panel.lane.follow()
        self.sync()

    @on(Prompt.TooLong)
    def _too_long(self, event: Prompt.TooLong) -> None:
        text = f"The paste has {event.characters:,} characters; a prompt has at most {LONGEST_PROMPT:,}."
        self.tuningfork.tell(text, title="Not pasted", severity="warning")

    def _ended(self, request: Request) -> None:
        self._keep()
        self.pump.mark(request.lane)
        if not self.talk.busy:
            self.all_answered()

    def all_answered(self) -> None:
        """Nothing streams any more."""

    @work(group="keep")
    @told
    async def _keep(self) -> None:
        await self.kept()

    async def kept(self) -> int | None:
        """Write what is new of the conversation, one write after the other; the id of its chat."""
        talk, transcript = self.talk, self.transcript
        async with self._writing:
            steps = transcript.plan(talk)
            if steps:
                meta = transcripts.meta(talk)
                await self.tuningfork.bridge.call(lambda store: transcript.write(store, steps, meta))
            return transcript.chat_id

    def action_back(self) -> None:
        """Stop what streams; else leave the editing of a prompt; else go between prompt and lanes."""
        focused = self.panel_in_focus
        if self.talk.busy:
            self.talk.stop(view.lane_at(self.talk, focused.position).name if focused else None)
            self.sync()
        elif self._editing:
            self._editing = False
            self.query_one(Prompt).fill("")
            self.draw()
        elif focused:
            self.query_one(Prompt).focus()
        else:
            self._panel(self.front).lane.focus()

    def action_again(self) -> None:
        self.attempt(self.talk.regenerate)

    def action_reseed(self) -> None:
        if self.talk.sampling.temperature == 0:
            self.tuningfork.tell(
                "At temperature 0 every seed gives the same answer. F7 changes the temperature.", severity="warning"
            )
            return
        self.attempt(lambda: self.talk.regenerate(seed=random.getrandbits(31)))

    def action_edit(self) -> None:
        if self.talk.empty:
            self.note("There is no prompt to edit yet.")
            return
        self._editing = True
        prompt = self.query_one(Prompt)
        prompt.fill(self.talk.turns[-1].prompt)
        prompt.focus()
        self.draw()

    async def action_new(self) -> None:
        await self.begin_anew()
        self.query_one(Prompt).focus()

    async def begin_anew(self) -> None:
        """An empty conversation with the same lanes; the one before stays in the store."""
        talk = self.talk.fork(0)
        talk.blind_seed = random.getrandbits(31)
        await self.begin(talk)

    def attempt(self, change: Callable[[], object]) -> bool:
        """Make a change and carry it out; a refusal is shown and False returned."""
        try:
            change()
        except TuningforkError as error:
            self.tuningfork.tell_error(error)
            return False
        self.sync()
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that have nothing to act on are not offered."""
        if action in ("swap", "diff", "vote", "drop_lane", "blind", "keep_over") and len(self.talk.lanes) < 2:
            return False
        if action in _ABOUT_A_TURN:
            return not self.talk.empty
        return True

    # -- moving between lanes -----------------------------------------------------------------------------------------

    @property
    def panel_in_focus(self) -> LanePanel | None:
        """The panel that has the focus, if any."""
        return next((p for p in self.query(LanePanel) if p.lane.has_focus), None)

    @property
    def position(self) -> int:
        """The panel that an action without a side is about: the one in focus, else the front one."""
        focused = self.panel_in_focus
        return focused.position if focused else self.front

    def _panel(self, position: int) -> LanePanel:
        return self.query_one(f"#panel-{position}", LanePanel)

    def action_swap(self) -> None:
        """Bring the next lane to the front; the focus goes with it when it was in a lane."""
        in_lane = self.panel_in_focus is not None
        self.front = (self.position + 1) % len(self.talk.lanes)
        self._arrange()
        if in_lane:
            self._panel(self.front).lane.focus()
        self.draw()

    def on_descendant_focus(self) -> None:
        focused = self.panel_in_focus
        if focused is not None:
            self.front = focused.position
        self.pump.mark("focus")
