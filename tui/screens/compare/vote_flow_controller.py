"""Voting through a set of prompts in Compare: each asked blind in a conversation of its own, the next after the vote.
Votes are cast and undone in vote_controller.py; which prompt comes when is decided here."""

from __future__ import annotations

import random
from dataclasses import dataclass

from engine.comparison.session import Comparison
from engine.comparison.transcripts import Transcript
from engine.evaluation.next_prompts import ProposedPrompt, proposed
from engine.evaluation.prompt_sets import PromptEntry
from tui import formatting
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lane_controller import LaneController
from tui.screens.compare.lanes_page import LanesPage
from tui.screens.compare.prompt_set_controller import PromptSetController
from tui.screens.compare.vote_controller import VoteController
from tui.screens.dialogs.pick import Entry, Pick
from tui.text import one_line


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """A prompt of the set in its own conversation, with what the store has of that."""

    comparison: Comparison
    transcript: Transcript


class VoteFlowController:
    """Asks the prompts of a set one after the other. It is over once another conversation or prompt is shown."""

    def __init__(
        self,
        host: CompareHost,
        conversation: Conversation,
        page: LanesPage,
        lanes: LaneController,
        sets: PromptSetController,
        ballots: VoteController,
    ) -> None:
        self._host, self._conversation, self._page, self._lanes = host, conversation, page, lanes
        self._sets, self._ballots = sets, ballots
        self._prompts: list[PromptEntry] = []
        self._asked: list[AskedPrompt] = []
        self._at = 0
        self._before = 0
        self._blind_before = False

    # -- where it is --------------------------------------------------------------------------------------------------

    @property
    def on(self) -> bool:
        """Whether the prompt that is shown is one of the set, and nothing else was asked since."""
        comparison = self._conversation.comparison
        here = self._at < len(self._asked) and self._asked[self._at].comparison is comparison
        return here and [turn.prompt for turn in comparison.turns] == [self._prompts[self._at].text]

    @property
    def progress(self) -> str:
        """`7 of 20`; empty while no set is voted through."""
        return f"{self._before + self._at + 1} of {self._before + len(self._prompts)}" if self.on else ""

    @property
    def left(self) -> int:
        """Prompts after this one."""
        return len(self._prompts) - self._at - 1

    @property
    def can_go_back(self) -> bool:
        """Whether there is a prompt before this one whose vote can be undone."""
        return self.on and self._at > 0

    # -- what the user does -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Choose a set, and ask the first of its prompts that has no vote between these two models yet."""
        if len(self._conversation.comparison.lanes) != 2:
            self._page.note("A vote is between two lanes; + adds one, - closes one.")
            return
        found = await self._sets.pick("Vote through which prompts, blind?", tests=True)
        if found is None:
            return
        name, prompts = found
        comparison = self._conversation.comparison
        asked = list(dict.fromkeys(PromptEntry(each.text, each.system or comparison.system) for each in prompts))
        models = [lane.label for lane in comparison.lanes.values()]
        left = await self._host.tuningfork.bridge.call(proposed, asked, *models)
        if not left:
            every = formatting.count(len(asked), "prompt")
            self._page.note(f"{one_line(name, 40)}: {every}, all voted on between these two. v shows the result.")
            return
        ordered = await self._in_order(left)
        if ordered is None:
            return
        self._prompts, self._asked, self._at = ordered, [], 0
        self._before, self._blind_before = len(asked) - len(left), comparison.blind
        self._lanes.chosen = True
        await self._show()

    async def _in_order(self, left: list[ProposedPrompt]) -> list[PromptEntry] | None:
        """The prompts in the order to ask them, which is asked for where differences are known; None to ask none."""
        known = sum(each.difference is not None for each in left)
        if known and len(left) > 1:
            of = f"known of {known} of {formatting.count(len(left), 'prompt')}"
            entries = [
                Entry("different", "Where the answers differ most first", of),
                Entry("set", "In the order of the set"),
            ]
            picked = await self._host.tuningfork.push_screen_wait(Pick("In which order?", entries))
            if picked is None:
                return None
            if picked.value == "different":
                return [each.prompt for each in left]
        return [each.prompt for each in sorted(left, key=lambda each: each.place)]

    async def vote_cast(self) -> None:
        """Ask the next prompt, if the one that is shown has its vote now."""
        if self.on and self._conversation.comparison.turns[0].vote is not None:
            await self._go_on()

    async def skip(self) -> None:
        """Leave this prompt without a vote."""
        await self._go_on()

    async def undo(self) -> None:
        """Go back to the prompt before, and undo its vote; the sides of a prompt that was voted on stay shown."""
        self._at -= 1
        await self._show()
        if self._conversation.comparison.turns[0].vote is not None:
            await self._ballots.undo()

    def end(self) -> None:
        """Stay in the conversation that is shown, and send no further prompt."""
        left = self.left
        self._forget()
        rest = f"{formatting.count(left, 'prompt')} left; A continues." if left else "none left."
        self._page.note(f"No further prompts of the set are sent: {rest}")

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _go_on(self) -> None:
        if not self.left:
            self._forget()
            self._page.note("That was the last prompt of the set. v shows which model wins.")
            return
        self._at += 1
        await self._show()

    def _forget(self) -> None:
        self._prompts, self._asked, self._at = [], [], 0
        self._conversation.comparison.blind = self._blind_before

    async def _show(self) -> None:
        """Show the prompt at hand: in a new conversation, or in its own when it was asked before."""
        if self._at < len(self._asked):
            kept = self._asked[self._at]
            await self._lanes.begin(kept.comparison, kept.transcript)
            turn = kept.comparison.turns[0]
            left = any(lane.answers[0].state in ("stopped", "failed") for lane in kept.comparison.lanes.values())
            if turn.vote is None and left:  # it was left while it was answered
                kept.comparison.regenerate()
        else:
            comparison = self._conversation.comparison.fork(0)
            comparison.blind, comparison.blind_seed = True, random.getrandbits(31)
            prompt = self._prompts[self._at]
            comparison.system = prompt.system
            comparison.send(prompt.text)
            self._asked.append(AskedPrompt(comparison, Transcript()))  # whole before the next key can arrive
            await self._lanes.begin(comparison, self._asked[-1].transcript)
        self._page.follow()
        self._page.focus_front()
        self._conversation.sync()
