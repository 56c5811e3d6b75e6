"""Votes in Compare: cast, taken back, and listed.
What a vote is worth is engine.evaluation.ranking's."""

from __future__ import annotations

import asyncio
from typing import Any

from textual import work

from engine.comparison import transcripts
from engine.comparison.session import Ballot
from store import votes
from store.db import Store
from store.records import Vote
from tui.screens.base import told
from tui.screens.compare.rendering import title
from tui.screens.compare.talk import CompareTalk

_SIDES = {"left": 0, "right": 1}
_WORDS = {"left": "left", "right": "right", "tie": "a tie", "both_bad": "both bad"}


class VoteActs(CompareTalk):
    """Which answer was better."""

    def __init__(self) -> None:
        super().__init__()
        self._voting = asyncio.Lock()  # a vote that is cast and taken back at once is written in that order

    @work(group="vote")
    @told
    async def action_vote(self, side: str) -> None:
        """Vote for the last turn; a second vote on it takes the place of the first."""
        position = _SIDES.get(side)
        talk, transcript = self.talk, self.transcript  # another conversation may begin while this one is written
        if talk.empty:
            self.note("There is nothing to vote on yet. Ask both lanes something first.")
            return
        if len(talk.lanes) != 2:
            self.note("A vote is between two lanes; - closes one.")
            return
        turn = len(talk.turns) - 1
        choice: Any = side if position is None else talk.choice(position, turn)
        if talk.turns[turn].vote == choice:
            return
        hidden = talk.turns[turn].hidden
        ballot = talk.vote(choice, turn)
        self.draw()
        async with self._voting:
            chat_id = await self.kept(talk, transcript)
            await self.tuningfork.bridge.call(cast_vote, ballot, chat_id)
        if hidden and talk is self.talk:
            left, right = (title(lane.model) for lane, _ in talk.shown(turn))
            self.note(f"You voted: {_WORDS[side]}. Left was {left}, right was {right}.")
        self.all_answered()

    @work(group="vote")
    @told
    async def action_unvote(self) -> None:
        """Take the newest vote of this conversation back."""
        talk, transcript = self.talk, self.transcript
        async with self._voting:
            chat_id = transcript.chat_id
            taken = None if chat_id is None else await self.tuningfork.bridge.call(votes.undo_last, chat_id)
            if chat_id is None or taken is None:
                self.note("This conversation has no vote to take back; v lists all votes.")
                return
            transcripts.recall_votes(talk, await self.tuningfork.bridge.call(votes.of_chat, chat_id))
        won = {"a": title(taken.a_model), "b": title(taken.b_model), "tie": "a tie"}.get(taken.choice, "both bad")
        self.note(f"Taken back: the vote for {won}.")

    @work(group="dialog", exclusive=True)
    async def action_votes(self) -> None:
        """All votes, and who wins."""
        from tui.screens.compare.votes import Votes

        await self.app.push_screen_wait(Votes())
        talk, chat_id = self.talk, self.transcript.chat_id
        if chat_id is not None:  # one of ours may have been taken back there
            transcripts.recall_votes(talk, await self.tuningfork.bridge.call(votes.of_chat, chat_id))
        self.draw()


def cast_vote(store: Store, ballot: Ballot, chat_id: int | None) -> Vote:
    """Keep a vote; the one before it on the same answers goes, in the same transaction."""
    about = ballot.turn, ballot.a_text, ballot.b_text
    with store.write():
        for old in votes.of_chat(store, chat_id) if chat_id is not None else ():
            if (old.sampling.get("turn"), old.a_text, old.b_text) == about:
                votes.remove(store, old.id)
        return votes.add(
            store, prompt=ballot.prompt, a_model=ballot.a_model, b_model=ballot.b_model, a_text=ballot.a_text,
            b_text=ballot.b_text, choice=ballot.choice, a_left=ballot.a_left, blind=ballot.blind,
            sampling=ballot.sampling, chat_id=chat_id,
        )  # fmt: skip
