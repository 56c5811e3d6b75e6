"""Few-shot lanes: which examples are chosen, where they stand, and where they must never be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.comparison import transcripts
from engine.comparison.answer import Stats
from engine.comparison.session import Comparison
from engine.comparison.transcripts import Transcript
from engine.inference import few_shot
from engine.inference.few_shot import FewShot
from store import datasets, pairs
from store.db import Store
from store.errors import BadInput, NotFound, UserError
from store.records import Pair, PairDraft, Turn

SHOTS = FewShot("shop", 1, "", ({"role": "user", "content": "q"}, {"role": "assistant", "content": "EXAMPLE"}))


@pytest.fixture
def shop(store: Store) -> list[Pair]:
    drafts = [PairDraft(f"question {n}", f"answer {n}") for n in range(9)]
    made = pairs.create_many(store, drafts, dataset="shop")
    return [pairs.get(store, uid) for uid in made.uids]


def test_the_choice_follows_from_the_contents_alone(shop: list[Pair]) -> None:
    chosen = few_shot.choose(shop, 4)
    assert len(chosen) == 4
    again = [replace(pair, id=99 - pair.id, uid=pair.uid[::-1]) for pair in reversed(shop)]
    assert [p.question for p in few_shot.choose(again, 4)] == [p.question for p in chosen]
    assert few_shot.choose(shop, 2) == chosen[:2], "fewer are the first of more"


def test_what_does_not_fit_is_passed_over(shop: list[Pair]) -> None:
    first = few_shot.choose(shop, 1)[0]
    long = replace(first, answer="x" * 500)
    rest = [pair for pair in shop if pair is not first]
    assert few_shot.choose([long, *rest], 3, room=400) == few_shot.choose(rest, 3)
    size = len(first.question) + len(first.answer)
    assert len(few_shot.choose(shop, 9, room=3 * size)) == 3
    assert few_shot.choose([long], 3, room=400) == [] == few_shot.choose([], 3)


def test_all_examples_share_the_commonest_system_text(shop: list[Pair]) -> None:
    mixed = [replace(pair, system="Be kind." if n < 6 else "Be brief.") for n, pair in enumerate(shop)]
    chosen = few_shot.choose(mixed, 9)
    assert len(chosen) == 6 and {pair.system for pair in chosen} == {"Be kind."}


def test_only_ready_training_pairs_of_the_dataset(store: Store, shop: list[Pair]) -> None:
    pairs.set_status(store, [p.uid for p in shop[:3]], "draft")
    datasets.set_split(store, "shop", [p.uid for p in shop[3:6]], "val")
    found = few_shot.of(store, "shop", 9)
    assert found.shots == 3 and len(found.messages) == 6
    assert {m["content"] for m in found.messages[::2]} == {"question 6", "question 7", "question 8"}
    pairs.set_status(store, [p.uid for p in shop], "draft")
    with pytest.raises(UserError, match="no ready training pair"):
        few_shot.of(store, "shop")
    with pytest.raises(NotFound):
        few_shot.of(store, "shoe")
    for wrong in (0, 33):
        with pytest.raises(BadInput, match="1 to 32"):
            few_shot.of(store, "shop", wrong)


def test_earlier_turns_of_a_pair_are_part_of_its_example(store: Store) -> None:
    draft = PairDraft("And now?", "Now.", system="S", history=(Turn("user", "Before?"), Turn("assistant", "Then.")))
    pairs.create(store, draft, dataset=datasets.ensure(store, "talks").name)
    found = few_shot.of(store, "talks")
    assert [m["content"] for m in found.messages] == ["Before?", "Then.", "And now?", "Now."]
    asked = [{"role": "user", "content": "Q"}]
    assert [m["content"] for m in found.before(asked)] == ["S", "Before?", "Then.", "And now?", "Now.", "Q"]
    own = [{"role": "system", "content": "Own"}, *asked]
    assert [m["content"] for m in found.before(own)] == ["Own", "Before?", "Then.", "And now?", "Now.", "Q"]
    assert FewShot.from_json(found.to_json()) == found


# -- in a conversation ------------------------------------------------------------------------------------------------


def answer(talk: Comparison) -> dict[str, list[str]]:
    """Answer everything; what each lane read last."""
    read = {}
    while requests := talk.due():
        for request in requests:
            read[request.lane] = [m["content"] for m in request.messages]
            talk.feed(request.id, f"{request.lane} says")
            talk.finish(request.id, Stats(), "what the server calls it")
    return read


def test_examples_are_read_by_their_lane_alone() -> None:
    talk = Comparison(["base", "run:x"])
    talk.send("One")
    answer(talk)
    assert talk.add_lane("base", SHOTS) == "c"
    answer(talk)
    talk.send("Two")
    assert answer(talk) == {
        "a": ["One", "a says", "Two"],
        "b": ["One", "b says", "Two"],
        "c": ["q", "EXAMPLE", "One", "c says", "Two"],
    }
    assert talk.answer("c").model == "base with 1 example of shop", "not the base, for votes and records"


def test_examples_are_in_no_vote_no_pair_and_no_file() -> None:
    talk = Comparison(["base", "run:x"])
    talk.set_model("a", "base", SHOTS)
    talk.send("One")
    answer(talk)
    ballot = talk.vote("a")
    assert ballot.prompt == [{"role": "user", "content": "One"}]
    assert (ballot.a_model, ballot.b_model) == ("base with 1 example of shop", "what the server calls it")
    assert talk.history("a", 0, examples=False) == ballot.prompt
    assert "EXAMPLE" not in transcripts.to_jsonl(talk) + transcripts.to_markdown(talk, "t")


def test_a_fork_a_new_start_and_a_reopened_one_keep_them(store: Store) -> None:
    talk = Comparison(["base", "run:x"])
    talk.add_lane("base", SHOTS)
    talk.send("One")
    answer(talk)
    transcript = Transcript()
    transcript.write(store, transcript.plan(talk), transcripts.meta(talk))
    reopened, _ = transcripts.reopen(store, transcript.chat_id or 0)
    for other in (talk.fork(1), talk.fork(0), reopened):
        assert other.lanes["c"].few_shot == SHOTS and other.lanes["a"].few_shot is None
        other.send("More")
        assert answer(other)["c"][:2] == ["q", "EXAMPLE"]


def test_another_model_reads_no_examples() -> None:
    talk = Comparison(["base"])
    talk.set_model("a", "base", SHOTS)
    talk.send("One")
    assert answer(talk)["a"][0] == "q"
    talk.set_model("a", "base")
    assert answer(talk) == {"a": ["One"]}
