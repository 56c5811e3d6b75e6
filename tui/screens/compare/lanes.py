"""What a person does to the lanes themselves: models, number, settings, blind mode, and the proof.
Changes engine.comparison.session; the streams follow in compare_talk."""

from __future__ import annotations

from typing import Any

from textual import on, work

from engine.inference.few_shot import FewShot
from engine.inference.limits import LANE_NAMES
from engine.models import default_model, refs
from tui.screens.base import told
from tui.screens.compare import rendering as view
from tui.screens.compare.lane_panel import Heading
from tui.screens.compare.talk import CompareTalk


class LaneActs(CompareTalk):
    """Models, settings, proof."""

    def __init__(self) -> None:
        super().__init__()
        self._proven: dict[tuple[str, str], dict[str, Any] | None] = {}
        """What was found of a lane and its model; None where it could not be measured."""

    @property
    def models(self) -> tuple[str, ...]:
        """The model references of the lanes, in order."""
        return tuple(lane.model for lane in self.talk.lanes.values())

    @property
    def answering(self) -> dict[str, str]:
        """What each lane was answered by last: of a run that goes on, the checkpoint."""
        lanes = self.talk.lanes.values()
        return {
            lane.name: lane.answers[-1].model if lane.answers and not lane.few_shot else lane.model for lane in lanes
        }

    @on(Heading.Chosen)
    def _heading_clicked(self, event: Heading.Chosen) -> None:
        self.pick_model(event.position)

    def action_model(self) -> None:
        self.pick_model(self.position)

    @work(group="dialog", exclusive=True)
    @told
    async def pick_model(self, position: int) -> None:
        """Choose another model for a lane; it answers the prompts so far itself."""
        from tui.screens.dialogs.pick_model import pick_model

        if self.sides_hidden:
            return
        name = view.lane_at(self.talk, position).name
        ref = await pick_model(self.tuningfork, f"Model of lane {name.upper()}", self.talk.lanes[name].model)
        if ref and name in self.talk.lanes:
            self.lanes_chosen = True
            self.talk.set_model(name, ref)
            self.sync()
            self.describe()

    @work(group="dialog", exclusive=True)
    @told
    async def action_add_lane(self) -> None:
        """One more lane, with a model to choose; it answers the prompts so far."""
        from tui.screens.dialogs.pick_model import pick_model

        if self.sides_hidden or self._no_room:
            return
        ref = await pick_model(self.tuningfork, "Model of the new lane", self.models[-1])
        if ref:
            await self._add(ref)

    @work(group="dialog", exclusive=True)
    @told
    async def action_few_shot(self) -> None:
        """One more lane: the base with examples of a dataset before the conversation."""
        from tui.screens.dialogs.pick_model import pick_examples

        if self.sides_hidden or self._no_room:
            return
        few_shot = await pick_examples(self.tuningfork)
        if few_shot:
            base = next((model for model in self.models if not refs.Ref.read(model).is_run), None)
            await self._add(base or await self.base_of(self.models[0], default_model.NAME), few_shot)

    @property
    def _no_room(self) -> bool:
        """True, and said to the person, when there are as many lanes as there can be."""
        full = len(self.talk.lanes) == len(LANE_NAMES)
        if full:
            self.note(f"There are {len(LANE_NAMES)} lanes already; - closes one.")
        return full

    async def _add(self, model: str, few_shot: FewShot | None = None) -> None:
        self.talk.add_lane(model, few_shot)
        self.lanes_chosen = True
        in_lane, self.front = self.panel_in_focus is not None, len(self.talk.lanes) - 1
        await self.match_panels()
        if in_lane:  # what is pressed next is about the new lane
            self._panel(self.front).lane.focus()
        self.sync()
        self.describe()

    @work(group="dialog", exclusive=True)
    @told
    async def action_drop_lane(self) -> None:
        """Close the lane in front; what it said stays in the store."""
        if self.sides_hidden:
            return
        in_lane = self.panel_in_focus is not None
        self.talk.drop_lane(view.lane_at(self.talk, self.position).name)
        self.lanes_chosen = True
        await self.match_panels()
        if in_lane:  # the panel that had the focus may be gone, and the next key must not land in the prompt
            self._panel(self.front).lane.focus()
        self.sync()

    def action_blind(self) -> None:
        """Hide and shuffle the sides of the turns to come, or no longer."""
        self.talk.blind = not self.talk.blind
        on = "Blind: the next answers are shuffled and unnamed until you vote."
        if len(self.talk.lanes) != 2:
            on = "Blind, once there are two lanes: - closes this one."
        self.note(on if self.talk.blind else "No longer blind.")

    @work(group="dialog", exclusive=True)
    async def action_settings(self) -> None:
        """System prompt and sampling, in a dialog."""
        from tui.screens.compare.settings import CompareSettings

        changed = await self.app.push_screen_wait(CompareSettings(self.talk.system, self.talk.sampling))
        if changed is not None:
            self.talk.system, self.talk.sampling = changed
            self.draw()

    # -- the proof ----------------------------------------------------------------------------------------------------

    def proof_mark(self, position: int) -> str:
        name = view.lane_at(self.talk, position).name
        side = self._proven.get((name, self.answering[name]))
        if side is None:
            return ""
        if not side["honest"]:
            return "✗ not what it says"
        if view.is_file(side["model"]):
            return "✓ the file alone"
        return "✓ proven tuned" if side["tuned"] else "✓ proven plain"

    def all_answered(self) -> None:
        """The first time that a model has answered in a lane, prove it quietly: the heading then says so."""
        if self.talk.empty or self.talk.turns[-1].hidden:
            return
        if not self._proven.keys() >= self.answering.items():
            self._prove_quietly()

    @work(group="proof", exclusive=True)
    async def _prove_quietly(self) -> None:
        try:
            await self._prove()
        except Exception as error:  # nobody asked for it, so it must not disturb; h tells what is wrong
            self.log.warning(f"the lanes could not be proven: {error}")
            return
        self.draw()

    async def _prove(self) -> dict[str, Any]:
        self._proven = dict.fromkeys(self.answering.items()) | self._proven
        seen = {name: model for name, model in self.answering.items() if not refs.Ref.read(model).is_endpoint}
        lanes = seen or self.answering  # another server shows no logits: it is left out, or says so itself
        client: Any = await self.duet.client()
        found: dict[str, Any] = await client.lane_check(lanes)
        self._proven |= zip(lanes.items(), found["lanes"], strict=True)
        return found

    @work(group="dialog", exclusive=True)
    @told
    async def action_proof(self) -> None:
        """Measure every lane and show the numbers."""
        from tui.screens.compare.lane_check import Proof

        if self.talk.busy:
            self.note("An answer is still coming; prove the lanes when it has ended.")
            return
        if self.sides_hidden:
            return
        self.note("Measuring every lane …", stays=True)
        try:
            found = await self._prove()
        finally:
            self.unnote()
        if self.is_active:  # it took seconds: whoever went on to something else is not called back
            self.app.push_screen(Proof(found))
