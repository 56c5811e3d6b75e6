"""The talking half of Compare: prompt, streams, and the conversation kept as it goes.
Turns keys into changes of engine.comparison.session; drawing them is page.py's; votes and keeping have their own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from textual import on, work
from textual.events import ScreenResume

from engine.comparison import transcripts
from engine.comparison.session import Comparison, Request
from engine.comparison.stream_runner import ChatClient, Duet
from engine.comparison.transcripts import Transcript
from engine.inference.limits import LONGEST_PROMPT
from engine.models import default_model, refs
from store.errors import TuningforkError
from tui.screens.base import told
from tui.screens.compare import rendering as view
from tui.screens.compare.about_model import about
from tui.screens.compare.lane_panel import LanePanel
from tui.screens.compare.page import ComparePage
from tui.screens.compare.prompt import Prompt

_ABOUT_A_TURN = frozenset(
    ("again", "reseed", "edit", "keep", "keep_over", "question", "correct", "copy", "fork", "transcript")
)


class CompareTalk(ComparePage):
    """A conversation with every lane."""

    def __init__(self) -> None:
        super().__init__()
        self.transcript = Transcript()
        self.lanes_chosen = False  # somebody chose the lanes, so they stay as they are
        self._set_aside = ""  # what stood in the prompt before the last one was edited
        self._writing = asyncio.Lock()

    def on_mount(self) -> None:
        self.duet = Duet(self.talk, self._connect, on_change=self._changed, on_end=self._ended)
        self.query_one(Prompt).focus()

    async def on_unmount(self) -> None:
        await self.duet.close()

    async def _connect(self) -> ChatClient:
        from engine.inference.client import Client  # httpx costs 0.1 s: not before it is needed

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
        tuned = next((ref for ref in known if refs.Ref.read(ref).is_run), None)
        base = known[0] if known else default_model.NAME
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
        if not self.talk.empty:
            self.talk.stop()  # what was said so far is kept
            self._keep()
        self.talk = talk
        self.transcript = transcript or Transcript()
        self.duet.replace(self.talk)
        if self.editing:
            self._end_editing()
        await self.match_panels()
        self.describe()

    @work(group="describe", exclusive=True)
    async def describe(self) -> None:
        """Find out what to say of each lane while nothing was said in it."""
        models = [lane.model for lane in self.talk.lanes.values()]
        self.about |= await self.tuningfork.bridge.call(about, models)
        self.followed = await self.tuningfork.bridge.call(refs.followed, models)
        self.draw()

    def _changed(self, lane: str) -> None:
        self.pump.mark(lane)

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
            if self.editing:
                self.talk.edit_last(event.text)
            else:
                self.talk.send(event.text)
        except TuningforkError as error:
            self.note(f"{error.what} {error.todo or ''}")  # a notice would lie upon what is being typed
            return
        self.unnote()
        self.query_one(Prompt).remember(event.text)
        self._end_editing()
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
            self.refresh_bindings()
            self.all_answered()

    def all_answered(self) -> None:
        """Nothing streams any more."""

    def _keep(self) -> None:
        """Write this conversation, also when another one is begun before that is done."""
        self._keep_this(self.talk, self.transcript)

    @work(group="keep")
    @told
    async def _keep_this(self, talk: Comparison, transcript: Transcript) -> None:
        await self.kept(talk, transcript)

    async def kept(self, talk: Comparison | None = None, transcript: Transcript | None = None) -> int | None:
        """Write what is new of a conversation, the one that is shown by default; the id of its chat."""
        talk, transcript = talk or self.talk, transcript or self.transcript
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
        elif self.editing:
            self._end_editing()
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
        prompt = self.query_one(Prompt)
        if not self.editing:
            self._set_aside = prompt.text
        self.editing = True
        prompt.fill(self.talk.turns[-1].prompt)
        prompt.focus()
        self.draw()

    def _end_editing(self) -> None:
        """Leave the prompt as it was before the last one was edited; empty after one that was sent."""
        self.query_one(Prompt).fill(self._set_aside if self.editing else "")
        self.editing, self._set_aside = False, ""

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
