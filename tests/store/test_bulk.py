"""Changes of many pairs at once: fields, membership, find and replace. Each is one edit, whole or not at all."""

from __future__ import annotations

import pytest

from store import bulk, datasets, edits, pairs, query
from store.bulk import BulkChange, Replacement
from store.db import Store
from store.errors import BadInput, NotFound
from store.records import PairDraft, Turn


@pytest.fixture
def uids(store: Store) -> list[str]:
    drafts = [PairDraft(f"What is {n}?", f"It is {n}.", tags=("old",) if n % 2 else ()) for n in range(6)]
    return pairs.create_many(store, drafts, dataset="shop").uids


def test_fields_and_dataset_change_as_one_edit(store: Store, uids: list[str]) -> None:
    change = BulkChange("draft", "identity", ("new", "x y"), ("OLD",), "other", "val")
    done = bulk.apply(store, uids[:4], change)
    assert (done.changed, done.joined) == (4, 4)
    for uid in uids[:4]:
        pair = pairs.get(store, uid)
        assert (pair.status, pair.kind, pair.tags, pair.revision) == ("draft", "identity", ("new", "x y"), 2)
        assert datasets.of(store, uid) == [("other", "val"), ("shop", "train")]
    assert pairs.get(store, uids[5]).tags == ("old",)
    edits.undo(store)
    assert [pairs.get(store, uid).tags for uid in uids[:2]] == [(), ("old",)]
    assert datasets.of(store, uids[0]) == [("shop", "train")], "the dataset is undone with it"


def test_members_move_to_the_split(store: Store, uids: list[str]) -> None:
    assert bulk.apply(store, uids[:3], BulkChange(dataset="shop", split="test")).moved == 3
    assert datasets.get(store, "shop").test == 3


def test_what_is_so_already_gets_no_revision(store: Store, uids: list[str]) -> None:
    assert bulk.apply(store, uids, BulkChange("ready", add_tags=("old",))).changed == 3
    assert pairs.get(store, uids[1]).revision == 1


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (BulkChange(), "nothing to change"),
        (BulkChange(split="val"), "belongs to a dataset"),
        (BulkChange(status="done"), "not a status"),  # type: ignore[arg-type]
        (BulkChange(add_tags=(" ",)), "tag is empty"),
    ],
)
def test_a_wrong_change_is_refused(store: Store, uids: list[str], change: BulkChange, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        bulk.apply(store, uids, change)


def test_all_or_nothing(store: Store, uids: list[str]) -> None:
    bare = pairs.create(store, PairDraft("No answer?", status="draft")).uid
    before = len(edits.edits(store))
    with pytest.raises(BadInput, match="no answer") as caught:
        bulk.apply(store, [*uids, bare], BulkChange("ready", "identity"))
    assert bare in str(caught.value)
    assert query.search_ids(store, "kind:identity") == [] and len(edits.edits(store)) == before


def test_replace_text_with_preview_and_undo(store: Store, uids: list[str]) -> None:
    what = Replacement("it IS (", "That's \\1 (", ignore_case=True)
    assert bulk.preview(store, uids, what).pairs == 0, "signs are signs without --regex"
    what = Replacement(r"It is (\d)\.", r"\1 it is.", regex=True)
    seen = bulk.preview(store, uids, what)
    assert (seen.found, seen.pairs) == (6, 6) and pairs.get(store, uids[3]).answer == "It is 3."
    assert {(change.before, change.after) for change in seen.samples} >= {("It is 3.", "3 it is.")}
    assert bulk.replace_text(store, uids, what) == seen
    assert pairs.get(store, uids[3]).answer == "3 it is."
    assert query.uids(store, '"3 it is"') == [uids[3]], "the search index follows"
    edits.undo(store)
    assert pairs.get(store, uids[3]).answer == "It is 3."
    assert query.uids(store, '"it is 3"') == [uids[3]]


def test_replace_in_system_and_history(store: Store) -> None:
    turns = (Turn("user", "Hello Acme"), Turn("assistant", "Acme says hi", train=False))
    uid = pairs.create(store, PairDraft("Q Acme", "A", "You are Acme.", turns)).uid
    done = bulk.replace_text(store, [uid], Replacement("Acme", "Ember\\", fields=("system", "history")))
    pair = pairs.get(store, uid)
    assert done.found == 3 and pair.question == "Q Acme" and pair.system == "You are Ember\\."
    assert pair.history == (Turn("user", "Hello Ember\\"), Turn("assistant", "Ember\\ says hi", train=False))


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (Replacement("(", "x", regex=True), "not a regular expression"),
        (Replacement("a(b)", r"\2", regex=True), "new text cannot be used"),
        (Replacement("", "x"), "no text to look for"),
        (Replacement("x", "y", fields=("title",)), "no text 'title'"),
        (Replacement(".+", "", regex=True), "After the replacement: The question is empty"),
        (Replacement("x", "\0"), "NUL"),
    ],
)
def test_a_wrong_replacement_changes_nothing(store: Store, uids: list[str], what: Replacement, error: str) -> None:
    pairs.create(store, PairDraft("ab", "ab"))
    before = len(edits.edits(store))
    with pytest.raises(BadInput, match=error):
        bulk.replace_text(store, query.uids(store), what)
    assert len(edits.edits(store)) == before


def test_progress_can_stop_it(store: Store, uids: list[str]) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bulk.apply(store, uids, BulkChange("draft"), on_progress=stop)
    assert query.search_ids(store, "status:draft") == []


def test_a_copy_is_a_draft_beside_the_pair(store: Store, uids: list[str]) -> None:
    datasets.set_split(store, "shop", uids[:1], "val")
    copy = pairs.copy(store, uids[0])
    assert copy.uid not in uids and (copy.question, copy.status) == ("What is 0?", "draft")
    assert datasets.of(store, copy.uid) == [("shop", "val")]
    edits.undo(store)
    assert len(query.uids(store)) == 6


def test_a_revision_comes_back_also_of_a_deleted_pair(store: Store, uids: list[str]) -> None:
    uid = uids[0]
    pairs.edit(store, uid, answer="Zero.", tags=("new",))
    pairs.delete(store, [uid])
    pair = pairs.restore(store, uid, 1)
    assert (pair.answer, pair.tags, pair.revision, pair.deleted_at) == ("It is 0.", (), 4, None)
    assert query.uids(store, '"it is 0"') == [uid]
    assert pairs.restore(store, uid, 1).revision == 4, "nothing new, no new revision"
    with pytest.raises(BadInput, match="was deleted in revision 3"):
        pairs.restore(store, uid, 3)
    with pytest.raises(NotFound, match="no revision 9"):
        pairs.restore(store, uid, 9)
    edits.undo(store)
    assert uid not in query.uids(store)


def test_a_question_that_was_asked_before_is_found(store: Store) -> None:
    first = pairs.create(store, PairDraft('Where is "my" order?', "Under Orders.")).uid
    other = pairs.create(store, PairDraft("Where is my car?", "Outside.")).uid
    same, differ = pairs.asked_before(store, PairDraft('WHERE is  "my" order', "under Orders"))
    assert ([pair.uid for pair in same], differ) == ([first], [])
    same, differ = pairs.asked_before(store, PairDraft('Where is "my" order?', "No idea."))
    assert (same, [pair.uid for pair in differ]) == ([], [first])
    assert pairs.asked_before(store, PairDraft('Where is "my" order?', "x", "Be brief.")) == ([], [])
    assert pairs.asked_before(store, PairDraft("Where is my car?", "x"), other) == ([], [])
    assert pairs.asked_before(store, PairDraft("", "x")) == ([], [])
