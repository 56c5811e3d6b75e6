"""Votes, preferences, chats, probes, evals, exports, models: what is kept, counted, found and undone."""

from __future__ import annotations

from typing import Any

import pytest

from store import chats, datasets, evals, exports, models, probes, votes
from store.db import Store
from store.errors import BadInput, Conflict, NotFound
from store.records import Choice, EvalItem, PreferenceDraft, Probe, Turn, VoteCounts

ASKED = [{"role": "user", "content": "Who made you?"}]


def vote(store: Store, choice: Choice, a: str = "base", b: str = "run:r", **more: Any) -> Any:
    texts = {"a_text": "I am a model.", "b_text": "Northwind Labs."}
    return votes.add(store, prompt=ASKED, a_model=a, b_model=b, choice=choice, **{**texts, **more})


def test_a_vote_comes_back_whole(store: Store) -> None:
    chat = chats.create(store, "t")
    kept = vote(store, "b", a_left=False, blind=True, sampling={"seed": 3}, chat_id=chat.id)
    assert votes.all_votes(store) == [kept]
    assert (kept.prompt, kept.a_left, kept.blind, kept.sampling) == (ASKED, False, True, {"seed": 3})
    chats.remove(store, chat.id)
    assert votes.all_votes(store)[0].chat_id is None, "a vote outlives its chat"


def test_votes_refuse_what_makes_no_sense(store: Store) -> None:
    with pytest.raises(BadInput, match="not a choice"):
        vote(store, "c")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="the same"):
        vote(store, "a", a_text="x", b_text="x")
    assert vote(store, "tie", a_text="x", b_text="x").choice == "tie"


def test_the_tally_counts_swapped_lanes_together(store: Store) -> None:
    for choice in ("a", "b", "b", "tie", "both_bad"):
        vote(store, choice)  # type: ignore[arg-type]
    vote(store, "a", a="run:r", b="base")
    vote(store, "a", a="other", b="base")
    assert votes.counts(store) == [VoteCounts("base", "other", 0, 1, 0, 0), VoteCounts("base", "run:r", 1, 3, 1, 1)]
    assert len(votes.all_votes(store, "run:r", "base")) == 6
    assert len(votes.all_votes(store, "other")) == 1


def test_undoing_votes(store: Store) -> None:
    chat = chats.create(store, "t").id
    first, second = vote(store, "a", chat_id=chat), vote(store, "b", chat_id=chat)
    elsewhere = vote(store, "b", chat_id=chats.create(store, "u").id)
    assert votes.undo_last(store, chat) == second
    assert votes.all_votes(store) == [elsewhere, first] and votes.of_chat(store, chat) == [first]
    votes.remove(store, elsewhere.id)
    votes.remove(store, first.id)
    with pytest.raises(NotFound):
        votes.remove(store, first.id)
    assert (votes.undo_last(store, chat), votes.counts(store)) == (None, [])


def test_preferences_come_from_winners_and_files(store: Store) -> None:
    vote(store, "b")
    vote(store, "tie")
    draft = PreferenceDraft((Turn("system", "s"), Turn("user", "q")), "good", "bad", {"file": "f", "line": 2})
    assert votes.import_preferences(store, [draft, draft], dataset="p") == (1, 1)
    won, imported = votes.preferences(store)
    assert (won.prompt, won.chosen, won.rejected) == (ASKED, "Northwind Labs.", "I am a model.")
    assert (won.source["chosen"], won.source["rejected"]) == ("run:r", "base")
    assert imported.prompt == [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    assert votes.preferences(store, "p") == [imported]
    for cast in votes.all_votes(store):
        votes.remove(store, cast.id)
    assert votes.preferences(store) == [imported]


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (PreferenceDraft((Turn("user", "q"),), "same", "same"), "rejected"),
        (PreferenceDraft((Turn("user", "q"),), " ", "b"), "chosen"),
        (PreferenceDraft((Turn("assistant", "q"),), "a", "b"), "prompt"),
        (PreferenceDraft((), "a", "b"), "prompt"),
    ],
)
def test_preferences_that_prefer_nothing(store: Store, draft: PreferenceDraft, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        votes.import_preferences(store, [draft], dataset="p")
    assert caught.value.where == field
    assert datasets.all_datasets(store) == []


def test_a_chat_is_a_tree(store: Store) -> None:
    chat = chats.create(store, "First", {"a": "base", "b": "run:r"})
    asked = chats.append(store, chat.id, "user", "Who made you?")
    left = chats.append(store, chat.id, "assistant", "No idea.", parent_id=asked.id, lane="a", model="base")
    right = chats.append(
        store,
        chat.id,
        "assistant",
        "Northwind.",
        parent_id=asked.id,
        lane="b",
        sampling={"seed": 1},
        stats={"tokens": 4},
    )
    more = chats.append(store, chat.id, "user", "Really?", parent_id=right.id, lane="b")
    assert [message.id for message in chats.tree(store, chat.id)] == [asked.id, left.id, right.id, more.id]
    assert [message.text for message in chats.path(store, more.id)] == ["Who made you?", "Northwind.", "Really?"]
    assert [message.text for message in chats.path(store, left.id)] == ["Who made you?", "No idea."]
    assert (right.sampling, right.stats, right.lane) == ({"seed": 1}, {"tokens": 4}, "b")
    other = chats.create(store)
    with pytest.raises(BadInput, match="another chat"):
        chats.append(store, other.id, "user", "x", parent_id=asked.id)
    with pytest.raises(BadInput, match="not a role"):
        chats.append(store, other.id, "tool", "x")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        chats.path(store, 999)


def test_chats_are_found_by_their_words(store: Store) -> None:
    one, two = chats.create(store, "one"), chats.create(store, "two")
    chats.append(store, one.id, "user", "The Café is closed")
    chats.append(store, two.id, "user", "Nothing")
    assert [chat.id for chat in chats.search(store, "cafe clo")] == [one.id]
    assert chats.search(store, "zebra") == []
    assert len(chats.search(store, "")) == 2
    assert chats.update(store, one.id, title="renamed", meta={"x": 1}).meta == {"x": 1}
    chats.remove(store, one.id)
    assert chats.search(store, "cafe") == []
    assert store.scalar("SELECT count(*) FROM message") == 1
    assert store.integrity() == []
    with pytest.raises(NotFound):
        chats.append(store, one.id, "user", "x")


def test_probe_sets(store: Store) -> None:
    asked = [
        Probe("identity", "Who are you?", ("ember",), ("chatgpt",), "Be kind."),
        Probe("identity", "Name?", ("e",)),
    ]
    assert probes.put_set(store, "identity", asked) == 2
    assert probes.get_set(store, "identity") == asked
    assert probes.put_set(store, "identity", asked[1:]) == 1
    assert probes.sets(store) == {"identity": 1}
    for bad in ([], [Probe("x", " ", ("a",))]):
        with pytest.raises(BadInput):
            probes.put_set(store, "x", bad)
    probes.remove_set(store, "identity")
    with pytest.raises(NotFound, match="no probe set"):
        probes.get_set(store, "identity")


def test_evals_keep_the_answers(store: Store) -> None:
    items = [EvalItem("q1", "right", True), EvalItem("q2", "wrong", False)]
    one = evals.save(store, run=None, model="base", set="identity", items=items, summary={"seed": 0})
    two = evals.save(store, run="r", model="run:r", set="identity", items=items[:1])
    kept = evals.get(store, one)
    assert (kept.passed, kept.of, kept.run, kept.summary) == (1, 2, None, {"seed": 0})
    assert evals.items(store, one) == items
    assert [found.id for found in evals.all_evals(store)] == [two, one]
    assert [found.id for found in evals.all_evals(store, run="r")] == [two]
    with pytest.raises(NotFound):
        evals.items(store, 99)


def test_exports_end_once(store: Store) -> None:
    begun = exports.start(store, run="r", step=4, format="gguf", quant="q8_0", path="exports/r.gguf")
    assert (begun.state, begun.ended_at, begun.verification) == ("working", None, {})
    done = exports.finish(store, begun.id, sha256="s", bytes=9, verification={"kl": 1e-5})
    assert (done.state, done.bytes, done.verification, done.path) == ("done", 9, {"kl": 1e-5}, "exports/r.gguf")
    with pytest.raises(Conflict, match="already ended"):
        exports.fail(store, begun.id, "late")
    second = exports.start(store, run="r", format="merged", path="exports/m")
    assert exports.fail(store, second.id, "no room").error == "no room"
    third = exports.start(store, run="q", format="gguf", path="exports/q.gguf")
    rejected = exports.finish(
        store, third.id, sha256="s", bytes=1, state="rejected", path="exports/q.gguf.rejected", error="lost its tuning"
    )
    assert (rejected.state, rejected.path, rejected.error) == ("rejected", "exports/q.gguf.rejected", "lost its tuning")
    assert [found.id for found in exports.all_exports(store, run="r")] == [second.id, begun.id]
    assert exports.remove(store, begun.id) == done
    with pytest.raises(NotFound):
        exports.get(store, begun.id)


def test_models(store: Store) -> None:
    with pytest.raises(NotFound, match="registered"):
        models.get(store, "org/name")
    models.upsert(store, "org/name", "base", {"layers": 2})
    again = models.upsert(store, "org/name", "gguf")
    assert models.all_models(store) == [again]
    assert (again.kind, again.meta) == ("gguf", {})
    for ref, kind in ((" ", "base"), ("x", "toy")):
        with pytest.raises(BadInput):
            models.upsert(store, ref, kind)  # type: ignore[arg-type]
    models.remove(store, "org/name")
    with pytest.raises(NotFound):
        models.remove(store, "org/name")
