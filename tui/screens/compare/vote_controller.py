"""Votes in Compare: cast, undone, and listed.
Kept by store.votes; win rates and the ranking are computed in engine.evaluation.ranking."""

from __future__ import annotations

import asyncio
from typing import Literal

from engine.comparison import transcripts
from store import votes
from store.records import Choice
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.compare.lane_check_controller import LaneCheckController
from tui.screens.compare.lanes_page import LanesPage
from tui.screens.compare.rendering import title
from tui.text import one_line

VoteSide = Literal["left", "right", "tie", "both_bad"]
_WORDS = {"left": "left", "right": "right", "tie": "a tie", "both_bad": "both bad"}


class VoteController:
    """Which answer was better."""

    def __init__(
        self, host: CompareHost, conversation: Conversation, page: LanesPage, checks: LaneCheckController
    ) -> None:
        self._host, self._conversation, self._page, self._checks = host, conversation, page, checks
        self._voting = asyncio.Lock()  # a vote that is cast and undone at once is written in that order

    async def vote(self, side: VoteSide) -> None:
        """Vote for the last turn; a second vote on it replaces the first."""
        conversation = self._conversation  # another one may begin while this vote is written
        comparison, transcript = conversation.comparison, conversation.transcript
        if comparison.empty:
            self._page.note("There is nothing to vote on yet. Ask both lanes something first.")
            return
        if len(comparison.lanes) != 2:
            self._page.note("A vote is between two lanes; - closes one.")
            return
        turn = len(comparison.turns) - 1
        choice: Choice
        match side:
            case "left" | "right":
                choice = comparison.choice(0 if side == "left" else 1, turn)
            case _:
                choice = side
        if comparison.turns[turn].vote == choice:
            return
        hidden = comparison.turns[turn].hidden
        if hidden:  # whether a name gives it away must be known before it counts as blind
            await conversation.know_names(comparison)
            if turn >= len(comparison.turns):  # it was cut off in the meantime
                return
        ballot = comparison.vote(choice, turn)
        self._page.draw()
        async with self._voting:
            chat_id = await conversation.save(comparison, transcript)
            await self._host.tuningfork.bridge.call(transcripts.cast_vote, ballot, chat_id)
        if hidden and comparison is conversation.comparison:
            left, right = (title(lane.model) for lane, _ in comparison.shown(turn))
            named = f" Unblind: an answer says {one_line(ballot.unblind[0], 30)}." if ballot.unblind else ""
            self._page.note(f"You voted: {_WORDS[side]}. Left was {left}, right was {right}.{named}")
        self._checks.check_soon()

    async def undo(self) -> None:
        """Undo the newest vote of this conversation."""
        comparison, transcript = self._conversation.comparison, self._conversation.transcript
        async with self._voting:
            chat_id = transcript.chat_id
            undone = None if chat_id is None else await self._host.tuningfork.bridge.call(votes.undo_last, chat_id)
            if chat_id is None or undone is None:
                self._page.note("This conversation has no vote to undo; v lists all votes.")
                return
            transcripts.recall_votes(comparison, await self._host.tuningfork.bridge.call(votes.of_chat, chat_id))
        won = {"a": title(undone.a_model), "b": title(undone.b_model), "tie": "a tie"}.get(undone.choice, "both bad")
        self._page.note(f"Undid the vote for {won}.")

    async def list_votes(self) -> None:
        """All votes, and which model wins."""
        from tui.screens.compare.votes import Votes

        await self._host.tuningfork.push_screen_wait(Votes())
        comparison, chat_id = self._conversation.comparison, self._conversation.transcript.chat_id
        if chat_id is not None:  # one of this conversation may have been undone there
            transcripts.recall_votes(comparison, await self._host.tuningfork.bridge.call(votes.of_chat, chat_id))
        self._page.draw()
