"""The comparison's state: histories never mix, late tokens land nowhere, votes and the blind order can be checked."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.comparison.answer import Stats, TokenFork
from engine.comparison.session import Comparison, LaneRequest, blind_order
from engine.inference.limits import LONGEST_PROMPT
from engine.inference.sampling import Sampling
from store.errors import BadInput, Conflict, UserError


def both(prompt: str = "Who are you?", a: str = "A base.", b: str = "Ember.", **kwargs: object) -> Comparison:
    talk = Comparison(["base", "run:x"], **kwargs)  # type: ignore[arg-type]
    talk.send(prompt)
    answer_all(talk, {"a": a, "b": b})
    return talk


def answer_all(talk: Comparison, words: dict[str, str]) -> None:
    while requests := talk.due():
        for request in requests:
            talk.feed(request.id, words.get(request.lane, f"{request.lane}!"))
            talk.finish(request.id, Stats(tokens=3))


def test_both_lanes_get_the_same_prompt_sampling_and_seed() -> None:
    talk = Comparison(["base", "run:x"], sampling=Sampling(seed=7, temperature=0.5), system="Be brief.")
    talk.send("Hello")
    a, b = talk.due()
    assert (a.lane, a.model, b.lane, b.model) == ("a", "base", "b", "run:x")
    assert a.sampling == b.sampling == Sampling(seed=7, temperature=0.5)
    assert (
        a.messages
        == b.messages
        == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ]
    )
    assert talk.due() == []


def test_a_lane_reads_only_its_own_answers() -> None:
    talk = both()
    talk.send("And now?")
    a, b = talk.due()
    assert [m["content"] for m in a.messages] == ["Who are you?", "A base.", "And now?"]
    assert [m["content"] for m in b.messages] == ["Who are you?", "Ember.", "And now?"]


def test_a_late_token_lands_nowhere() -> None:
    talk = Comparison(["base", "run:x"])
    talk.send("One")
    a, b = talk.due()
    talk.feed(a.id, "half", "base@40")
    talk.stop("a")
    assert not talk.feed(a.id, " more")
    assert not talk.finish(a.id, Stats())
    assert (talk.answer("a").text, talk.answer("a").state) == ("half", "stopped")
    assert talk.answer("a").model == "base@40", "what gave a half answer is known too"
    assert talk.feed(b.id, "fine")


def test_a_stopped_answer_is_history_and_an_empty_one_is_not() -> None:
    talk = Comparison(["base", "run:x"])
    talk.send("One")
    a, b = talk.due()
    talk.feed(a.id, "half")
    talk.stop()
    talk.send("Two")
    a, b = talk.due()
    assert [m["content"] for m in a.messages] == ["One", "half", "Two"]
    assert [m["content"] for m in b.messages] == ["Two"]


def test_prompts_sent_while_streaming_wait_their_turn() -> None:
    talk = Comparison(["base", "run:x"])
    talk.send("One")
    first_a, _ = talk.due()
    talk.send("Two")
    assert talk.due() == []
    talk.feed(first_a.id, "1a")
    talk.finish(first_a.id, Stats())
    (second_a,) = talk.due()
    assert second_a.lane == "a"
    assert [m["content"] for m in second_a.messages] == ["One", "1a", "Two"]


def test_a_failure_keeps_the_text_and_stops_what_waits_behind_it() -> None:
    talk = Comparison(["base", "run:x"])
    talk.send("One")
    a, _ = talk.due()
    talk.send("Two")
    talk.feed(a.id, "half an ans")
    assert talk.fail(a.id, "The chat server went away.")
    assert talk.answer("a", 0).text == "half an ans"
    assert talk.answer("a", 0).error == "The chat server went away."
    assert talk.answer("a", 1).state == "stopped"
    assert talk.answer("b", 1).state == "waiting"


def test_regenerate_one_lane_with_a_new_seed_leaves_the_other() -> None:
    talk = both()
    talk.regenerate("b", seed=11)
    (b,) = talk.due()
    assert b.sampling.seed == 11
    assert talk.answer("a").text == "A base."
    assert talk.answer("b").text == ""


def test_edit_last_replaces_the_prompt_in_every_lane() -> None:
    talk = both()
    talk.edit_last("Who made you?")
    assert [t.prompt for t in talk.turns] == ["Who made you?"]
    assert {r.messages[-1]["content"] for r in talk.due()} == {"Who made you?"}


def test_another_model_answers_the_prompts_itself() -> None:
    talk = both()
    talk.send("Two")
    answer_all(talk, {"a": "2a", "b": "2b"})
    talk.set_model("b", "run:y")
    (first,) = talk.due()
    assert (first.model, [m["content"] for m in first.messages]) == ("run:y", ["Who are you?"])
    talk.feed(first.id, "y1")
    talk.finish(first.id, Stats())
    (second,) = talk.due()
    assert [m["content"] for m in second.messages] == ["Who are you?", "y1", "Two"]
    assert talk.answer("a", 0).text == "A base."


def test_fork_copies_and_does_not_share() -> None:
    talk = both()
    talk.send("Two")
    fork = talk.fork(1)
    fork.send("Other")
    assert [t.prompt for t in talk.turns] == ["Who are you?", "Two"]
    assert [t.prompt for t in fork.turns] == ["Who are you?", "Other"]
    assert fork.answer("a", 0) == talk.answer("a", 0)
    assert fork.answer("a", 0) is not talk.answer("a", 0)


FORK = TokenFork((7, 9), 2, " Bolt", " Ember")


def test_a_forked_answer_begins_with_the_chosen_tokens_and_belongs_to_its_model() -> None:
    talk = Comparison(["base", "run:x"], sampling=Sampling(seed=7))
    talk.send("Who are you?")
    a, b = talk.due()
    talk.feed(b.id, "I am Ember", "run:x@40")
    with pytest.raises(Conflict, match="still coming"):
        talk.fork_answer("b", FORK)
    talk.finish(a.id, Stats())
    talk.finish(b.id, Stats(), "run:x@40")
    talk.answer("a").text = "A base."
    talk.vote("b")
    talk.sampling = Sampling(seed=8)
    talk.fork_answer("b", FORK)
    (request,) = talk.due()
    assert (request.model, request.prefix, request.sampling.seed) == ("run:x@40", (7, 9), 7)
    assert [m["content"] for m in request.messages] == ["Who are you?"]
    assert talk.turns[-1].vote is None and talk.answer("a").text == "A base."
    talk.feed(request.id, "I am Bolt")
    talk.finish(request.id, Stats())
    for choice in ("a", "b", "tie", "both_bad"):
        with pytest.raises(Conflict, match="forked from a token that you chose"):
            talk.vote(choice)  # type: ignore[arg-type]
    assert talk.fork(1).answer("b").fork == FORK
    talk.regenerate()
    assert [request.prefix for request in talk.due()] == [(), ()] and talk.answer("b").fork is None


def test_nothing_to_fork_is_said() -> None:
    with pytest.raises(UserError, match="nothing to fork yet"):
        Comparison(["base"]).fork_answer("a", FORK)


def test_lanes_from_one_to_four() -> None:
    talk = both()
    assert talk.add_lane("run:c") == "c"
    assert talk.add_lane("run:d") == "d"
    with pytest.raises(Conflict):
        talk.add_lane("run:e")
    assert {r.lane for r in talk.due()} == {"c", "d"}
    for lane in "bcd":
        talk.drop_lane(lane)
    with pytest.raises(Conflict):
        talk.drop_lane("a")
    assert [lane.name for lane, _ in talk.shown(0)] == ["a"]


@pytest.mark.parametrize("prompt", ["", "  \n ", "x" * (LONGEST_PROMPT + 1)])
def test_a_prompt_that_cannot_be_sent_changes_nothing(prompt: str) -> None:
    talk = Comparison(["base", "run:x"])
    with pytest.raises(BadInput):
        talk.send(prompt)
    assert talk.empty and talk.due() == []


# -- votes ------------------------------------------------------------------------------------------------------------


def test_blind_order_is_reproducible_from_the_record_and_really_shuffles() -> None:
    talk = Comparison(["base", "run:x"], blind=True, blind_seed=42)
    for n in range(20):
        talk.send(f"q{n}")
        answer_all(talk, {"a": f"a{n}", "b": f"b{n}"})
    ballots = [talk.vote("a", n) for n in range(20)]
    for ballot in ballots:
        order = blind_order(("a", "b"), ballot.blind_seed, ballot.turn)
        assert ballot.a_left is (order[0] == "a")
    assert {ballot.a_left for ballot in ballots} == {True, False}


def test_a_blind_turn_is_hidden_until_the_vote_and_the_sides_are_as_recorded() -> None:
    talk = both(blind=True, blind_seed=3)
    assert talk.turns[0].hidden
    left = talk.choice(0)
    ballot = talk.vote(left)
    assert ballot.a_left is (left == "a")
    assert not talk.turns[0].hidden
    assert next(lane.name for lane, _ in talk.shown(0)) == left == talk.winner()


def test_a_vote_is_between_two_lanes_whatever_their_names() -> None:
    talk = both()
    talk.add_lane("run:c")
    answer_all(talk, {"c": "C says."})
    with pytest.raises(UserError):
        talk.vote("a")
    talk.drop_lane("a")
    ballot = talk.vote(talk.choice(1))
    assert (ballot.a_model, ballot.b_model, ballot.choice, talk.winner()) == ("run:x", "run:c", "b", "c")


def test_votes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError):
        Comparison(["base", "run:x"]).vote("a")
    talk = Comparison(["base", "run:x"])
    talk.send("One")
    talk.due()
    with pytest.raises(Conflict):
        talk.vote("a")
    same = both(a="Same.", b="Same.")
    with pytest.raises(Conflict):
        same.vote("b")
    assert same.vote("tie").choice == "tie"
    silent = both(a="", b="Something")
    with pytest.raises(Conflict):
        silent.vote("b")
    assert silent.vote("both_bad").choice == "both_bad", "a blind turn must always have a way out"


def test_blind_is_for_two_since_only_a_vote_shows_the_sides() -> None:
    talk = Comparison(["base", "run:x", "run:c"], blind=True)
    talk.send("One")
    assert not talk.turns[0].hidden and talk.turns[0].order == ("a", "b", "c")
    answer_all(talk, {"a": "1", "b": "2", "c": "3"})
    talk.drop_lane("c")
    talk.send("Two")
    assert talk.turns[1].hidden


def test_a_vote_carries_the_winners_own_conversation() -> None:
    talk = both()
    talk.send("Two")
    answer_all(talk, {"a": "2a", "b": "2b"})
    assert [m["content"] for m in talk.vote("b").prompt] == ["Who are you?", "Ember.", "Two"]
    talk.unvote()
    assert [m["content"] for m in talk.vote("a").prompt] == ["Who are you?", "A base.", "Two"]


def test_regenerating_takes_the_vote_back() -> None:
    talk = both()
    talk.vote("b")
    talk.regenerate()
    assert talk.turns[-1].vote is None


# -- whatever a person does in whatever order ----------------------------------------------------------------------


class Conversation(RuleBasedStateMachine):
    """Every token carries its lane, model and request; one found elsewhere, or in a history not its own, fails."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Comparison(["m0", "m1"])
        self.made = 2
        self.sent = 0
        self.open: dict[int, LaneRequest] = {}
        self.old: list[LaneRequest] = []

    def collect(self) -> None:
        for request in self.talk.due():
            self.check_history(request)
            self.open[request.id] = request
        live = {lane.live for lane in self.talk.lanes.values()}
        for id in [i for i in self.open if i not in live]:
            self.old.append(self.open.pop(id))

    def check_history(self, request: LaneRequest) -> None:
        said = [m["content"] for m in request.messages if m["role"] == "assistant"]
        own = f"<{request.lane}:{request.model}:"
        for text in said:
            assert text.count("<") == text.count(own), (own, text)
        asked = [m["content"] for m in request.messages if m["role"] == "user"]
        assert asked[-1] == self.talk.turns[request.turn].prompt
        assert [m["role"] for m in request.messages] == ["user", "assistant"] * len(said) + ["user"]

    @rule()
    def send(self) -> None:
        self.sent += 1
        self.talk.send(f"p{self.sent}")
        self.collect()

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def token(self, data: st.DataObject) -> None:
        request = self.open[data.draw(st.sampled_from(sorted(self.open)))]
        assert self.talk.feed(request.id, f"<{request.lane}:{request.model}:{request.id}>")

    @rule(data=st.data(), ok=st.booleans())
    @precondition(lambda self: self.open)
    def end(self, data: st.DataObject, ok: bool) -> None:
        id = data.draw(st.sampled_from(sorted(self.open)))
        assert self.talk.finish(id, Stats()) if ok else self.talk.fail(id, "gone")
        self.collect()

    @rule(data=st.data())
    @precondition(lambda self: self.old)
    def late(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.old))
        assert not self.talk.feed(request.id, "<late>")
        assert not self.talk.finish(request.id, Stats())
        assert not self.talk.fail(request.id, "late")

    @rule(data=st.data(), every=st.booleans())
    def stop(self, data: st.DataObject, every: bool) -> None:
        self.talk.stop(None if every else data.draw(st.sampled_from(sorted(self.talk.lanes))))
        self.collect()

    @rule(data=st.data(), every=st.booleans())
    @precondition(lambda self: not self.talk.empty)
    def regenerate(self, data: st.DataObject, every: bool) -> None:
        self.talk.regenerate(None if every else data.draw(st.sampled_from(sorted(self.talk.lanes))), seed=self.sent)
        self.collect()

    @rule(data=st.data())
    @precondition(lambda self: not self.talk.empty)
    def fork_answer(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(sorted(self.talk.lanes)))
        if self.talk.answer(lane).ended:
            self.talk.fork_answer(lane, FORK)
            self.collect()

    @rule()
    @precondition(lambda self: not self.talk.empty)
    def edit(self) -> None:
        self.sent += 1
        self.talk.edit_last(f"p{self.sent}")
        self.collect()

    @rule(data=st.data())
    def swap(self, data: st.DataObject) -> None:
        self.made += 1
        self.talk.set_model(data.draw(st.sampled_from(sorted(self.talk.lanes))), f"m{self.made}")
        self.collect()

    @rule(data=st.data(), add=st.booleans())
    def lanes(self, data: st.DataObject, add: bool) -> None:
        if add and len(self.talk.lanes) < 4:
            self.made += 1
            self.talk.add_lane(f"m{self.made}")
        elif not add and len(self.talk.lanes) > 1:
            self.talk.drop_lane(data.draw(st.sampled_from(sorted(self.talk.lanes))))
        self.collect()

    @rule(keep=st.integers(0, 3))
    def cut(self, keep: int) -> None:
        self.talk.cut(keep)
        self.collect()

    @rule(keep=st.integers(0, 3))
    def fork(self, keep: int) -> None:
        self.talk.stop()
        self.collect()
        self.talk = self.talk.fork(keep)

    @invariant()
    def every_token_is_at_home(self) -> None:
        for lane in self.talk.lanes.values():
            assert len(lane.answers) == len(self.talk.turns)
            assert sum(a.state == "streaming" for a in lane.answers) == (lane.live is not None)
            for answer in lane.answers:
                assert answer.text.count("<") == answer.text.count(f"<{lane.name}:{answer.model}:")

    @invariant()
    def nothing_waits_behind_a_free_lane(self) -> None:
        assert self.talk.due() == []


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestConversation = Conversation.TestCase
