"""The conversation of a comparison: lanes with their own histories, requests, votes and the blind order.
Pure state: no network, no store, no clock, no screen. What a model must be asked is returned as a `LaneRequest`."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.comparison.answer import AnswerState, LaneAnswer, Stats, TokenFork
from engine.comparison.spoken_names import said
from engine.inference.few_shot import FewShot
from engine.inference.limits import LANE_NAMES, LONGEST_PROMPT
from engine.inference.sampling import Sampling
from store.errors import BadInput, Conflict, UserError
from store.records import Choice, Message

_ids = itertools.count(1)  # unique in the process, so that an id of an earlier conversation is live nowhere


@dataclass(slots=True)
class ComparisonTurn:
    """One prompt, and the vote on the answers that the lanes gave to it. `order` is the lanes from left to right;
    `masked` are the names that its answers are shown without while it is hidden."""

    prompt: str
    blind: bool
    order: tuple[str, ...]
    vote: Choice | None = None
    masked: tuple[str, ...] = ()

    @property
    def hidden(self) -> bool:
        """True while the user must not know which side is which."""
        return self.blind and self.vote is None


@dataclass(slots=True)
class Lane:
    """One side: a model reference and its own answers, one per turn.

    `few_shot` are examples that its model reads before the conversation; `live` is the id of the request that streams.
    """

    name: str
    model: str
    answers: list[LaneAnswer] = field(default_factory=list)
    live: int | None = None
    few_shot: FewShot | None = None

    @property
    def label(self) -> str:
        """The name of what answers here, for votes and records: a model with examples is not the model alone."""
        return self.few_shot.of(self.model) if self.few_shot else self.model

    def twin(self) -> Lane:
        """The same side without any answer."""
        return Lane(self.name, self.model, few_shot=self.few_shot)

    @property
    def streaming(self) -> LaneAnswer | None:
        return next((a for a in self.answers if a.state == "streaming"), None)

    @property
    def busy(self) -> bool:
        return any(not a.ended for a in self.answers)


@dataclass(frozen=True, slots=True)
class LaneRequest:
    """Ask `model` for the answer to `messages`, which begins with the tokens of `prefix`, and feed it back under
    `id`."""

    id: int
    lane: str
    turn: int
    model: str
    messages: list[Message]
    sampling: Sampling
    prefix: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote, complete enough to be kept and to be checked: the blind order follows from `blind_seed` and `turn`.

    `a` is the first lane, `b` the second, whatever their names. `unblind` are the models' names that the answers of a
    blind turn showed. The fields are the arguments of `store.votes.cast`.
    """

    turn: int
    lanes: int
    blind_seed: int
    choice: Choice
    prompt: list[Message]
    a_model: str
    b_model: str
    a_text: str
    b_text: str
    a_left: bool
    blind: bool
    sampling: dict[str, Any]
    unblind: list[str]


def blind_order(lanes: Sequence[str], seed: int, turn: int) -> tuple[str, ...]:
    """The order in which blind sides are shown: random, but always the same for the same seed and turn."""
    order = list(lanes)
    random.Random(f"tuningfork:{seed}:{turn}").shuffle(order)
    return tuple(order)


class Comparison:
    """Two lanes (one to four) that get the same prompts, sampling and seed, and never read each other's answers.

    A change that needs new answers leaves them `waiting`; `due()` returns at most one request per lane. What comes back
    under an id that is no longer live is refused, so a late token can never land in another turn or lane.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        system: str = "",
        sampling: Sampling | None = None,
        blind: bool = False,
        blind_seed: int = 0,
        mask: bool = False,
    ) -> None:
        if not 1 <= len(models) <= len(LANE_NAMES):
            raise BadInput(f"A comparison has one to {len(LANE_NAMES)} lanes, not {len(models)}.")
        self.system = system
        self.sampling = sampling or Sampling()
        self.blind = blind
        self.blind_seed = blind_seed
        self.mask = mask
        """The answers of blind turns to come are shown without the models' names until the vote."""
        self.names: dict[str, tuple[str, ...]] = {}
        """What each model is called, by its reference; see `know`."""
        self.turns: list[ComparisonTurn] = []
        self.lanes: dict[str, Lane] = {n: Lane(n, m) for n, m in zip(LANE_NAMES, models, strict=False)}

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """An answer streams or waits to."""
        return any(lane.busy for lane in self.lanes.values())

    @property
    def empty(self) -> bool:
        return not self.turns

    def answer(self, lane: str, turn: int = -1) -> LaneAnswer:
        """A lane's answer to a turn, the last by default. IndexError when there is none."""
        return self.lanes[lane].answers[turn]

    def history(self, lane: str, turn: int, *, examples: bool = True) -> list[Message]:
        """What this lane's model reads for `turn`: its own earlier answers only; what it never answered is left out.

        Without `examples` only this conversation: examples are read, but belong to no pair and to no vote.
        """
        shots = self.lanes[lane].few_shot if examples else None
        messages: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        for earlier, answer in zip(self.turns[:turn], self.lanes[lane].answers[:turn], strict=True):
            if answer.text:
                messages.append({"role": "user", "content": earlier.prompt})
                messages.append({"role": "assistant", "content": answer.text})
        messages.append({"role": "user", "content": self.turns[turn].prompt})
        return shots.before(messages) if shots else messages

    def shown(self, turn: int) -> Iterator[tuple[Lane, LaneAnswer]]:
        """The sides of a turn, left to right, as they are shown. A lane added later has answered it too."""
        order = self.turns[turn].order
        for name in [*(n for n in order if n in self.lanes), *(n for n in self.lanes if n not in order)]:
            yield self.lanes[name], self.lanes[name].answers[turn]

    # -- names ----------------------------------------------------------------------------------------------------

    @property
    def unnamed(self) -> list[str]:
        """The references whose names are not known yet."""
        return [lane.model for lane in self.lanes.values() if lane.model not in self.names]

    def know(self, names: Mapping[str, tuple[str, ...]]) -> None:
        """Learn what models are called. A blind turn that nothing was answered to yet is masked from now on."""
        self.names |= names
        for n, turn in enumerate(self.turns):
            if turn.hidden and self.mask and not any(lane.answers[n].text for lane in self.lanes.values()):
                turn.masked = self.all_names

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names of all lanes' models, as far as they are known."""
        found = (name for lane in self.lanes.values() for name in self.names.get(lane.model, ()))
        return tuple(dict.fromkeys(found))

    # -- what the user does ---------------------------------------------------------------------------------------

    def send(self, prompt: str) -> None:
        """Ask every lane. BadInput for a prompt that is empty or too long."""
        self._check(prompt)
        n = len(self.turns)
        masked = self.all_names if self._blind_now and self.mask else ()
        self.turns.append(ComparisonTurn(prompt, self._blind_now, self._order(n), masked=masked))
        for lane in self.lanes.values():
            lane.answers.append(LaneAnswer(lane.label, self.sampling))

    def due(self) -> list[LaneRequest]:
        """The requests to make now: for each lane that is free, its first waiting answer."""
        requests = []
        for lane in self.lanes.values():
            if lane.live is not None:
                continue
            turn = next((n for n, a in enumerate(lane.answers) if a.state == "waiting"), None)
            if turn is None:
                continue
            lane.live = next(_ids)
            answer = lane.answers[turn]
            answer.state = "streaming"
            messages = self.history(lane.name, turn)
            model, prefix = (answer.model, answer.fork.prefix) if answer.fork else (lane.model, ())
            requests.append(LaneRequest(lane.live, lane.name, turn, model, messages, answer.sampling, prefix))
        return requests

    def stop(self, lane: str | None = None) -> None:
        """End what streams and what waits, in one lane or all; the text so far stays."""
        for each in self._some(lane):
            each.live = None
            for answer in each.answers:
                if not answer.ended:
                    answer.state = "stopped"

    def regenerate(self, lane: str | None = None, seed: int | None = None) -> None:
        """Answer the last prompt again, in one lane or all, with the same seed or a new one; its vote is removed."""
        turn = self._last_turn("regenerate")
        self.stop(lane)
        if seed is not None:
            self.sampling = replace(self.sampling, seed=seed)
        turn.vote = None
        for each in self._some(lane):
            each.answers[-1] = LaneAnswer(each.label, self.sampling)

    def fork_answer(self, lane: str, fork: TokenFork) -> None:
        """Answer the last prompt again in one lane, from a token on that was chosen; its vote is removed.

        The model that gave the answer continues it, with the sampling of that answer. Conflict while it still comes.
        """
        turn, answer = self._last_turn("fork"), self.answer(lane)
        if not answer.ended:
            raise Conflict("The answer is still coming.", todo="Fork it when it has ended.")
        turn.vote = None
        self.lanes[lane].answers[-1] = LaneAnswer(answer.model, answer.sampling, fork=fork)

    def edit_last(self, prompt: str) -> None:
        """Put another prompt in place of the last one and answer that."""
        self._check(prompt)
        self._last_turn("edit")
        self.cut(len(self.turns) - 1)
        self.send(prompt)

    def cut(self, turns: int) -> None:
        """Keep the first `turns` turns and drop the rest; what streams into the rest is no longer live."""
        self.stop()
        del self.turns[turns:]
        for lane in self.lanes.values():
            del lane.answers[turns:]

    def clear(self) -> None:
        """Start again with the same lanes, sampling and system prompt."""
        self.cut(0)

    def fork(self, turns: int) -> Comparison:
        """A conversation of its own that begins with the first `turns` turns of this one."""
        copy = Comparison(
            [lane.model for lane in self.lanes.values()],
            system=self.system,
            sampling=self.sampling,
            blind=self.blind,
            blind_seed=self.blind_seed,
            mask=self.mask,
        )
        copy.names = dict(self.names)
        copy.lanes = {name: lane.twin() for name, lane in self.lanes.items()}
        copy.turns = [replace(turn) for turn in self.turns[:turns]]
        for name, lane in self.lanes.items():
            copy.lanes[name].answers = [
                replace(a, state=a.state if a.ended else "stopped") for a in lane.answers[:turns]
            ]
        return copy

    def set_model(self, lane: str, model: str, few_shot: FewShot | None = None) -> None:
        """Another model in a lane: it answers all the prompts so far itself, so it reads only its own answers."""
        side = self.lanes[lane]
        if (side.model, side.few_shot) == (model, few_shot):
            return
        self.stop(lane)
        side.model, side.few_shot = model, few_shot
        side.answers = [LaneAnswer(side.label, self.sampling) for _ in self.turns]
        for turn in self.turns:
            turn.vote, turn.blind = None, False

    def add_lane(self, model: str, few_shot: FewShot | None = None) -> str:
        """One more side; it answers the prompts so far. Conflict when there are four."""
        name = next((n for n in LANE_NAMES if n not in self.lanes), None)
        if name is None:
            raise Conflict(f"There are {len(LANE_NAMES)} lanes already.", todo="Close one first.")
        self.lanes[name] = lane = Lane(name, model, few_shot=few_shot)
        lane.answers = [LaneAnswer(lane.label, self.sampling) for _ in self.turns]
        return name

    def drop_lane(self, lane: str) -> None:
        """Close a side. Conflict for the last one."""
        if len(self.lanes) == 1:
            raise Conflict("The last lane cannot be closed.")
        del self.lanes[lane]
        for turn in self.turns:
            turn.order = tuple(n for n in turn.order if n != lane)

    # -- what comes back ------------------------------------------------------------------------------------------

    def feed(self, id: int, text: str, model: str = "") -> bool:
        """Add a piece of an answer; False, and nothing changes, when that request is no longer live.

        `model` is what answers, where that is more exact than the lane's model: a lane that follows a run is answered
        by one of its checkpoints.
        """
        answer = self._live(id)
        if answer is None:
            return False
        answer.text += text
        self._answered_by(id, model)
        return True

    def finish(self, id: int, stats: Stats, model: str = "") -> bool:
        """The answer is complete, by its own end or at the limit; `model` as in `feed`."""
        self._answered_by(id, model)
        return self._end(id, "done", stats=stats)

    def _answered_by(self, id: int, model: str) -> None:
        lane = self._lane_of(id)
        if lane and lane.streaming and model and not lane.few_shot:
            lane.streaming.model = model

    def fail(self, id: int, error: str) -> bool:
        """The answer broke off; its text stays, and what waited behind it in this lane is stopped."""
        lane = self._lane_of(id)
        if not self._end(id, "failed", error=error) or lane is None:
            return False
        self.stop(lane.name)
        return True

    # -- votes ----------------------------------------------------------------------------------------------------

    def vote(self, choice: Choice, turn: int = -1) -> Ballot:
        """Vote for a side of a turn. Conflict while an answer streams, when one broke off, is empty or was forked, or
        when both are the same."""
        ballot = self.ballot(choice, turn)
        self.turns[ballot.turn].vote = choice
        return ballot

    def ballot(self, choice: Choice, turn: int = -1) -> Ballot:
        """The vote as it would be kept, without casting it. One that changes a vote is not blind: the first showed the
        models."""
        if not self.turns:
            raise UserError("There is nothing to vote on yet.", todo="Ask both lanes something first.")
        if len(self.lanes) != 2:
            raise UserError("A vote is between two lanes.", todo="Open a second one, or close the others.")
        n = turn % len(self.turns)
        one, two = self.lanes
        a, b = self.answer(one, n), self.answer(two, n)
        if not (a.ended and b.ended):
            raise Conflict("An answer is still coming.", todo="Vote when both have ended, or stop them with Esc.")
        if "failed" in (a.state, b.state):
            raise Conflict("An answer broke off.", todo="Press ^R to ask again first.")
        if a.fork or b.fork:
            what = "An answer was forked from a token that you chose: a vote on it would not be about the model alone."
            raise Conflict(what, todo="Press ^R to ask again first.")
        if choice != "both_bad" and not (a.text.strip() and b.text.strip()):
            raise Conflict(
                "A lane has no answer to vote on.", todo="Press ^R to ask again first, or vote for both bad."
            )
        if a.text == b.text and choice in ("a", "b"):
            raise Conflict("Both answers are the same, word for word.", todo="Vote for a tie or for both bad.")
        asked = self.turns[n]
        # the sides have different histories: the winner's is the one that its answer was chosen for
        prompt = self.history(two if choice == "b" else one, n, examples=False)
        a_left = next(self.shown(n))[0].name == one
        open_names = [name for name in self.all_names if name not in asked.masked]
        unblind = list(said(f"{a.text}\n\n\n{b.text}", open_names)) if asked.hidden else []
        return Ballot(
            turn=n, lanes=len(self.lanes), blind_seed=self.blind_seed, choice=choice, prompt=prompt, a_model=a.model,
            b_model=b.model, a_text=a.text, b_text=b.text, a_left=a_left, blind=asked.hidden,
            sampling=a.sampling.to_json(), unblind=unblind,
        )  # fmt: skip

    def unvote(self, turn: int = -1) -> None:
        """Undo a vote; a blind turn whose sides were shown stays shown."""
        asked = self.turns[turn]
        asked.vote, asked.blind = None, False

    def choice(self, position: int, turn: int = -1) -> Choice:
        """What to vote for the answer shown at a position (0 = left) of a turn: a is the first lane, b the second."""
        shown = [lane.name for lane, _ in self.shown(turn % len(self.turns))]
        return "a" if shown[position] == next(iter(self.lanes)) else "b"

    def winner(self, turn: int = -1) -> str | None:
        """The lane that was voted better in a turn."""
        vote, names = self.turns[turn].vote, list(self.lanes)
        if vote not in ("a", "b") or len(names) != 2:
            return None
        return names[0] if vote == "a" else names[1]

    # -- inside ---------------------------------------------------------------------------------------------------

    def _order(self, turn: int) -> tuple[str, ...]:
        names = tuple(self.lanes)
        return blind_order(names, self.blind_seed, turn) if self._blind_now else names

    @property
    def _blind_now(self) -> bool:
        """Only a vote shows the sides of a blind turn, and a vote is between two."""
        return self.blind and len(self.lanes) == 2

    def _check(self, prompt: str) -> None:
        if not prompt.strip():
            raise BadInput("The prompt is empty.", todo="Write something first.")
        if len(prompt) > LONGEST_PROMPT:
            raise BadInput(
                f"The prompt has {len(prompt):,} characters.", todo=f"At most {LONGEST_PROMPT:,} can be sent."
            )

    def _last_turn(self, what: str) -> ComparisonTurn:
        if not self.turns:
            raise UserError(f"There is nothing to {what} yet.", todo="Ask something first.")
        return self.turns[-1]

    def _some(self, lane: str | None) -> list[Lane]:
        return list(self.lanes.values()) if lane is None else [self.lanes[lane]]

    def _lane_of(self, id: int) -> Lane | None:
        return next((lane for lane in self.lanes.values() if lane.live == id), None)

    def _live(self, id: int) -> LaneAnswer | None:
        lane = self._lane_of(id)
        return lane.streaming if lane else None

    def _end(self, id: int, state: AnswerState, *, stats: Stats | None = None, error: str = "") -> bool:
        lane = self._lane_of(id)
        answer = lane.streaming if lane else None
        if lane is None or answer is None:
            return False
        lane.live = None
        answer.state, answer.stats, answer.error = state, stats, error
        return True
