"""The lanes of Compare: which models are side by side, how many, and the settings that all of them share.
Changes engine.comparison.session; each lane answers the prompts so far by itself."""

from __future__ import annotations

import random

from engine.comparison.session import Comparison
from engine.comparison.transcripts import Transcript
from engine.inference.few_shot import FewShot
from engine.inference.limits import LANE_NAMES
from engine.models import default_model, refs
from store.errors import TuningforkError
from tui.screens.compare import rendering as view
from tui.screens.compare.about_model import about
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lanes_page import LanesPage


class LaneController:
    """Models, number of lanes, settings, and which conversation they show."""

    def __init__(
        self,
        host: CompareHost,
        conversation: Conversation,
        page: LanesPage,
    ) -> None:
        self._host, self._conversation, self._page = host, conversation, page
        self.chosen = False
        """The user chose the lanes, so they stay as they are."""

    # -- conversations ------------------------------------------------------------------------------------------------

    async def begin(self, comparison: Comparison, transcript: Transcript | None = None) -> None:
        """Show another conversation; `transcript` is what the store has of it."""
        self._conversation.replace(comparison, transcript)
        if self._page.prompt.editing:
            self._page.prompt.end_edit()
        await self._page.match_panels()
        self.describe()

    async def begin_empty(self) -> None:
        """An empty conversation with the same lanes; the one before stays in the store."""
        empty = self._conversation.comparison.fork(0)
        empty.blind_seed = random.getrandbits(31)
        await self.begin(empty)

    async def open_with(self, *models: str) -> None:
        """A new conversation with these lanes; the one before stays in the store."""
        self.chosen = True
        await self.begin(self._conversation.empty_with(models))

    def choose_soon(self) -> None:
        """Choose the lanes, while the user has asked and chosen nothing."""
        if not self.chosen and self._conversation.comparison.empty:
            self._host.run_soon(self._choose, "lanes")

    async def _choose(self) -> None:
        """The base and the newest run."""
        known = await self._host.tuningfork.bridge.call(refs.known)
        tuned = next((ref for ref in known if refs.Ref.read(ref).is_run), None)
        base = known[0] if known else default_model.NAME
        if tuned:
            base = await self.base_of(tuned, base)
        if self.chosen or not self._conversation.comparison.empty:  # after the last wait: the user may have been faster
            return
        await self.begin(self._conversation.empty_with([base, tuned] if tuned else [base]))

    async def base_of(self, ref: str, otherwise: str) -> str:
        """The base of a tuned model; `otherwise` where that is not known."""
        try:
            found = await self._host.tuningfork.bridge.call(refs.resolve, ref)
        except TuningforkError:
            return otherwise
        return found.base.ref if found.base else otherwise

    def describe(self) -> None:
        """Look up soon what an empty lane shows of its model."""
        self._host.run_soon(self._describe, "describe")

    async def _describe(self) -> None:
        models = self._conversation.models
        self._page.about |= await self._host.tuningfork.bridge.call(about, models)
        self._page.followed = await self._host.tuningfork.bridge.call(refs.followed, models)
        self._page.draw()
        await self._conversation.know_names()

    # -- models -------------------------------------------------------------------------------------------------------

    async def change_model(self, position: int) -> None:
        """Choose another model for a lane; it answers the prompts so far itself."""
        from tui.screens.dialogs.pick_model import pick_model

        if self._page.sides_hidden():
            return
        comparison = self._conversation.comparison
        name = view.lane_at(comparison, position).name
        ref = await pick_model(self._host.tuningfork, f"Model of lane {name.upper()}", comparison.lanes[name].model)
        if ref and name in self._conversation.comparison.lanes:
            self.chosen = True
            self._conversation.comparison.set_model(name, ref)
            self._conversation.sync()
            self.describe()

    async def add(self) -> None:
        """One more lane, with a model to choose; it answers the prompts so far."""
        from tui.screens.dialogs.pick_model import pick_model

        if self._page.sides_hidden() or self._full():
            return
        ref = await pick_model(self._host.tuningfork, "Model of the new lane", self._conversation.models[-1])
        if ref:
            await self._add(ref)

    async def add_few_shot(self) -> None:
        """One more lane: the base with examples of a dataset before the conversation."""
        from tui.screens.dialogs.pick_model import pick_examples

        if self._page.sides_hidden() or self._full():
            return
        few_shot = await pick_examples(self._host.tuningfork)
        if few_shot:
            models = self._conversation.models
            base = next((model for model in models if not refs.Ref.read(model).is_run), None)
            await self._add(base or await self.base_of(models[0], default_model.NAME), few_shot)

    def _full(self) -> bool:
        """True, with a note, when there are as many lanes as there can be."""
        full = len(self._conversation.comparison.lanes) == len(LANE_NAMES)
        if full:
            self._page.note(f"There are {len(LANE_NAMES)} lanes already; - closes one.")
        return full

    async def _add(self, model: str, few_shot: FewShot | None = None) -> None:
        page, comparison = self._page, self._conversation.comparison
        comparison.add_lane(model, few_shot)
        self.chosen = True
        in_lane, page.front = page.panel_in_focus is not None, len(comparison.lanes) - 1
        await page.match_panels()
        if in_lane:  # what is pressed next is about the new lane
            page.focus_front()
        self._conversation.sync()
        self.describe()

    async def join(self, model: str) -> None:
        """Add a lane that the user did not ask for; the focus stays where it is."""
        self._conversation.comparison.add_lane(model)
        await self._page.match_panels()
        self._conversation.sync()
        self.describe()

    async def drop(self) -> None:
        """Close the lane in front; its answers stay in the store."""
        page, comparison = self._page, self._conversation.comparison
        if page.sides_hidden():
            return
        in_lane = page.panel_in_focus is not None
        comparison.drop_lane(view.lane_at(comparison, page.position).name)
        self.chosen = True
        await page.match_panels()
        if in_lane:  # the panel that had the focus may be gone, and the next key must not land in the prompt
            page.focus_front()
        self._conversation.sync()

    # -- what all lanes share -----------------------------------------------------------------------------------------

    def toggle_blind(self) -> None:
        """Hide and shuffle the sides of the turns to come, or stop doing so."""
        comparison = self._conversation.comparison
        comparison.blind = not comparison.blind
        on = "Blind: the next answers are shuffled and unnamed until you vote."
        if len(comparison.lanes) != 2:
            on = "Blind, once there are two lanes: - closes this one."
        self._page.note(on if comparison.blind else "No longer blind.")

    async def change_settings(self) -> None:
        """System prompt and sampling, in a dialog."""
        from tui.screens.compare.settings import CompareSettings

        now = self._conversation.comparison
        changed = await self._host.tuningfork.push_screen_wait(CompareSettings(now.system, now.sampling, now.mask))
        if changed is not None:
            comparison = self._conversation.comparison
            comparison.system, comparison.sampling, comparison.mask = changed
            self._page.draw()
