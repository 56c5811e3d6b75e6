"""Pairs: making, changing, deleting; what they refuse; revisions, undo and redo by example."""

from __future__ import annotations

import pytest

from store import datasets, pairs
from store.db import Store
from store.errors import BadInput, Conflict, NotFound
from store.records import PairDraft, Turn


def test_a_pair_comes_back_as_it_went_in(store: Store) -> None:
    draft = PairDraft(
        question="Who is Zoë? 🦊",
        answer="A fox.\n\tShe lives  here. ",
        system="Be brief.",
        history=(Turn("user", "Hi"), Turn("assistant", "Hello")),
        kind="identity",
        status="draft",
        tags=("fox", "ünï"),
        source={"chat": 3, "model": "run:x", "seed": 7},
    )
    pair = pairs.create(store, draft, dataset="d", split="val")
    assert PairDraft(**{name: getattr(pair, name) for name in PairDraft.__dataclass_fields__}) == draft
    assert (pair.revision, pair.deleted_at) == (1, None)
    assert [message["role"] for message in pair.messages()] == ["system", "user", "assistant", "user", "assistant"]
    assert datasets.get(store, "d").val == 1


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (PairDraft("  \n", "a"), "question"),
        (PairDraft("q", " "), "answer"),
        (PairDraft("q\0", "a"), "question"),
        (PairDraft("q", "\ud800"), "answer"),
        (PairDraft("q", "a", system="\udfff"), "system"),
        (PairDraft("q", "a", history=(Turn("user", "x\0"),)), "history[0]"),
        (PairDraft("q", "a", history=(Turn("tool", "x"),)), "history[0]"),  # type: ignore[arg-type]
        (PairDraft("q", "a", kind="poem"), "kind"),  # type: ignore[arg-type]
        (PairDraft("q", "a", status="maybe"), "status"),  # type: ignore[arg-type]
        (PairDraft(7, "a"), "question"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_a_pair_is_named_and_leaves_nothing(store: Store, draft: PairDraft, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        pairs.create_many(store, [PairDraft("good", "yes"), draft], dataset="d")
    assert caught.value.where == field
    assert caught.value.todo
    assert (pairs.count(store), datasets.all_datasets(store), pairs.edits(store)) == (0, [], [])


def test_a_draft_needs_no_answer(store: Store) -> None:
    pair = pairs.create(store, PairDraft("q", status="draft"))
    with pytest.raises(BadInput, match="no answer"):
        pairs.set_status(store, [pair.uid], "ready")
    assert pairs.set_status(store, [pair.uid], "rejected") == 1


def test_a_pair_is_found_by_the_beginning_of_its_uid(store: Store) -> None:
    one = pairs.create(store, PairDraft("one", "1"))
    assert pairs.get(store, one.uid[:4]).uid == one.uid
    with pytest.raises(NotFound):
        pairs.get(store, one.uid[:3])
    pairs.create(store, PairDraft("two", "2"))
    with pytest.raises(NotFound, match="Several"):
        pairs.get(store, one.uid[:4])
    with pytest.raises(NotFound, match="no pair"):
        pairs.get(store, "%%%%")


def test_an_edit_makes_a_revision_and_a_new_hash(store: Store) -> None:
    old = pairs.create(store, PairDraft("q", "a"))
    new = pairs.edit(store, old.uid, answer="b", tags=("x",))
    assert (new.revision, new.answer, new.tags, new.created_at) == (2, "b", ("x",), old.created_at)
    assert new.content_hash != old.content_hash
    assert pairs.edit(store, old.uid, answer="b").revision == 2, "nothing new, no new revision"
    assert [(pair.revision, pair.answer) for pair in pairs.revisions(store, old.uid)] == [(1, "a"), (2, "b")]


def test_a_stale_edit_is_a_conflict(store: Store) -> None:
    pair = pairs.create(store, PairDraft("q", "a"))
    pairs.edit(store, pair.uid, answer="b")
    with pytest.raises(Conflict, match="changed meanwhile"):
        pairs.edit(store, pair.uid, answer="c", expect_revision=1)
    assert pairs.edit(store, pair.uid, answer="c", expect_revision=2).answer == "c"


def test_an_unknown_field_is_named(store: Store) -> None:
    pair = pairs.create(store, PairDraft("q", "a"))
    with pytest.raises(BadInput, match="'colour'") as caught:
        pairs.edit(store, pair.uid, colour="red")
    assert caught.value.todo and "question" in caught.value.todo


def test_deleted_pairs_are_gone_until_undone(store: Store) -> None:
    made = pairs.create_many(store, [PairDraft(f"q{n}", "a") for n in range(5)], dataset="d")
    assert pairs.delete(store, made.uids[:3]) == 3
    assert pairs.delete(store, made.uids[:3]) == 0
    assert (pairs.count(store), pairs.count(store, "d"), datasets.get(store, "d").pairs) == (2, 2, 2)
    with pytest.raises(NotFound):
        pairs.get(store, made.uids[0])
    assert pairs.get(store, made.uids[0], deleted=True).deleted_at is not None
    with pytest.raises(NotFound):
        pairs.edit(store, made.uids[0], answer="x")
    undone = pairs.undo(store)
    assert undone is not None and (undone.label, undone.pairs) == ("delete", 3)
    assert pairs.count(store, "d") == 5


def test_undo_and_redo_walk_the_edits(store: Store) -> None:
    pair = pairs.create(store, PairDraft("q", "one"), dataset="d")
    for answer in ("two", "three"):
        pairs.edit(store, pair.uid, answer=answer)

    def answer() -> str | None:
        return pairs.get(store, pair.uid).answer if pairs.count(store) else None

    seen = [answer()]
    for step in (pairs.undo, pairs.undo, pairs.redo, pairs.redo, pairs.undo, pairs.undo, pairs.undo, pairs.redo):
        assert step(store) is not None
        seen.append(answer())
    assert seen == ["three", "two", "one", "two", "three", "two", "one", None, "one"]
    assert datasets.get(store, "d").pairs == 1, "a pair that comes back is in its dataset again"


def test_a_new_edit_ends_redo(store: Store) -> None:
    pair = pairs.create(store, PairDraft("q", "one"))
    pairs.edit(store, pair.uid, answer="two")
    pairs.undo(store)
    pairs.edit(store, pair.uid, answer="three")
    assert pairs.redo(store) is None
    assert pairs.get(store, pair.uid).answer == "three"


def test_nothing_to_undo(store: Store) -> None:
    assert pairs.undo(store) is None
    assert pairs.redo(store) is None


def test_an_edit_that_touches_nothing_leaves_no_trace(store: Store) -> None:
    assert pairs.create_many(store, []).uids == []
    assert pairs.set_status(store, ["missing"], "ready") == 0
    assert pairs.edits(store) == []


def test_edits_say_who_did_what(store: Store) -> None:
    pair = pairs.create(store, PairDraft("q", "a"), actor="ann")
    pairs.edit(store, pair.uid, answer="b", actor="bob")
    pairs.undo(store, actor="cy")
    last, edit, first = pairs.edits(store)
    assert [(e.actor, e.label, e.pairs) for e in (first, edit, last)] == [
        ("ann", "add", 1),
        ("bob", "edit", 1),
        ("cy", "edit", 1),
    ]
    assert last.undoes == edit.id
    assert len(pairs.edits(store, limit=2)) == 2


def test_duplicates_are_made_once_and_join_the_dataset(store: Store) -> None:
    first = pairs.create_many(store, [PairDraft("q", "a"), PairDraft("q", "a"), PairDraft("q2", "a")], dataset="one")
    assert (len(first.uids), first.duplicates) == (2, 1)
    second = pairs.create_many(store, [PairDraft("q", "a"), PairDraft("new", "a")], dataset="two")
    assert (len(second.uids), second.duplicates) == (1, 1)
    assert pairs.count(store) == 3
    assert {pair.question for pair, _ in datasets.members(store, "two")} == {"q", "new"}
    kept = pairs.create_many(store, [PairDraft("q", "a")], skip_duplicates=False)
    assert (len(kept.uids), kept.duplicates) == (1, 0)


def test_a_deleted_pair_is_no_duplicate(store: Store) -> None:
    pair = pairs.create(store, PairDraft("q", "a"))
    pairs.delete(store, [pair.uid])
    assert pairs.create_many(store, [PairDraft("q", "a")]).duplicates == 0


def test_a_failing_generator_leaves_nothing(store: Store) -> None:
    def drafts():  # type: ignore[no-untyped-def]
        for n in range(5_000):
            yield PairDraft(f"q{n}", "a")
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        pairs.create_many(store, drafts(), dataset="d")
    assert (pairs.count(store), datasets.all_datasets(store)) == (0, [])


def test_uids_sort_by_time() -> None:
    from store.canon import new_uid

    uids = [new_uid() for _ in range(2_000)]
    assert uids == sorted(set(uids))
    assert {len(uid) for uid in uids} == {12}
