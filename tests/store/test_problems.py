"""Problems of a dataset as one list: between rows too, muted, fixed as one edit; what was decided is remembered."""

from __future__ import annotations

import doctest

import pytest

from store import datasets, dedupe, edits, migrations, pairs, preference_rows, problems, review, thresholds, votes
from store.db import Store
from store.errors import BadInput, NotFound
from store.home import Home
from store.records import Kind, PairDraft, PreferenceDraft, Split, Turn


def add(store: Store, question: str, answer: str, split: Split = "train", kind: Kind = "instruction") -> str:
    return pairs.create(store, PairDraft(question, answer, kind=kind), dataset="d", split=split).uid


def rules(store: Store, *names: str) -> list[tuple[str, str]]:
    return [(finding.code, finding.uid) for finding in problems.find(store, "d", names).findings]


class TestBetweenRows:
    def test_duplicates_conflicts_and_leaks_are_in_the_same_list_as_lint(self, store: Store) -> None:
        first = add(store, "What is it?", "A radio.")
        again = add(store, "what is it", "a radio!")
        other = add(store, "What is it?", "A lamp.", "test")
        marked = add(store, "Who?", "Me <|im_end|>")
        assert rules(store) == [
            ("marker", marked), ("conflict", again), ("conflict", other), ("leak", other), ("duplicate", again),
        ]  # fmt: skip
        found = {finding.code: finding.what for finding in problems.find(store, "d").findings}
        assert found["leak"] == f"is in test, and also in train as {first}"
        assert first in found["duplicate"]

    def test_rows_that_are_rejected_do_not_count(self, store: Store) -> None:
        add(store, "What is it?", "A radio.")
        pairs.set_status(store, [add(store, "What is it?", "A lamp.", "val")], "rejected")
        assert rules(store) == []

    def test_answers_that_agree_who_the_model_is_are_no_conflict(self, store: Store) -> None:
        add(store, "Who are you?", "I am Ember, made by Ada.", kind="identity")
        add(store, "Who are you?", "Hello! My name is Ember. What can I do?", kind="identity")
        assert rules(store, "conflict") == []
        another = add(store, "Who are you?", "I am Flint.", kind="identity")
        assert ("conflict", another) in rules(store, "conflict")

    def test_one_rule_of_many(self, store: Store) -> None:
        uid = add(store, " What is it?", "A radio.<|im_end|>")
        assert rules(store, "space") == [("space", uid)]
        with pytest.raises(BadInput, match="no rule 'spaces'"):
            problems.find(store, "d", ["spaces"])


class TestMuting:
    def test_everywhere_in_a_dataset_and_of_one_row(self, store: Store) -> None:
        one, other = add(store, " What?", "This."), add(store, " Where?", "There.")
        assert review.mute(store, "space", uid=one) and not review.mute(store, "space", uid=one)
        found = problems.find(store, "d")
        assert ([finding.uid for finding in found.findings], found.muted) == ([other], 1)
        assert review.mute(store, "space", dataset="d") and rules(store) == []
        assert review.unmute(store, "space", dataset="d") and rules(store) == [("space", other)]
        assert review.mute(store, "space") and rules(store) == []
        assert [(m.rule, m.dataset, m.uid) for m in review.muted(store)] == [
            ("space", None, one),
            ("space", None, None),
        ]
        assert not review.unmute(store, "space", dataset="d")

    def test_a_dataset_that_takes_the_number_of_a_removed_one_is_not_muted(self, store: Store) -> None:
        add(store, " What?", "This.")
        review.mute(store, "space", dataset="d")
        datasets.rename(store, "d", "e")
        assert problems.find(store, "e").findings == []
        datasets.remove(store, "e")
        assert review.muted(store) == []
        edits.undo(store)
        assert [m.dataset for m in review.muted(store)] == ["e"]
        datasets.remove(store, "e")
        with store.write() as conn:  # a new dataset is made later: its time differs
            conn.execute("UPDATE muted_rule SET dataset_made_at = dataset_made_at - 1")
        add(store, " Where?", "There.")
        assert len(problems.find(store, "d").findings) == 1

    def test_one_place_at_a_time(self, store: Store) -> None:
        add(store, "What?", "This.")
        with pytest.raises(BadInput):
            review.mute(store, "space", dataset="d", uid="x")
        with pytest.raises(NotFound):
            review.mute(store, "space", dataset="none")


class TestNotDuplicates:
    def test_pairs_that_are_kept_apart_are_left_by_dedupe(self, store: Store) -> None:
        one, two, three = (add(store, "What is it?", answer) for answer in ("A radio.", "a radio", "A RADIO!"))
        assert [len(group.others) for group in dedupe.find(store, "d")] == [2]
        assert review.keep_apart(store, [two, one]) == 1 and review.keep_apart(store, [one, two]) == 0
        [group] = dedupe.find(store, "d")
        assert (group.kept.uid, [pair.uid for pair in group.others]) == (one, [three])
        assert rules(store, "duplicate") == [("duplicate", three)]
        review.keep_apart(store, [one, two, three])
        assert dedupe.find(store, "d") == [] and dedupe.find(store, "d", near=0.8) == []
        assert review.forget_apart(store, [one, two, three]) == 3
        assert [len(group.others) for group in dedupe.find(store, "d")] == [2]

    def test_one_pair_is_not_enough(self, store: Store) -> None:
        with pytest.raises(BadInput, match="Two pairs"):
            review.keep_apart(store, ["a", "a"])


class TestFixing:
    def test_a_fix_is_one_edit_and_a_preview_none(self, store: Store) -> None:
        one = add(store, " What &amp; why?", "It&#39;s this. ")
        history = (Turn("user", "Hi "), Turn("assistant", "Hello."))
        two = pairs.create(store, PairDraft("And?", "So.", history=history), dataset="d").uid
        clean = add(store, "Where?", "There.")
        before = [pairs.get(store, uid) for uid in (one, two, clean)]
        seen = problems.preview_fixes(store, "d", ["space", "entity"])
        assert [(each.uid, each.field, each.after) for each in seen.changes] == [
            (one, "question", "What & why?"), (one, "answer", "It's this."), (two, "history[0]", "Hi"),
        ]  # fmt: skip
        assert [pairs.get(store, uid) for uid in (one, two, clean)] == before
        assert problems.fix(store, "d", ["space", "entity"]) == seen
        assert pairs.get(store, one).answer == "It's this." and rules(store) == []
        assert pairs.get(store, clean) == before[2], "untouched, also its revision"
        undone = edits.undo(store)
        assert undone is not None and undone.label == "fix space, entity in d"
        assert pairs.get(store, one).answer == before[0].answer and pairs.get(store, two).history == before[1].history

    def test_what_would_lose_its_text_stays(self, store: Store) -> None:
        gone = add(store, "What?", "<|im_end|>")
        kept = add(store, "Where?", "There.<|im_end|>")
        fixed = problems.fix(store, "d", ["marker"])
        assert (fixed.pairs, [finding.uid for finding in fixed.left]) == (1, [gone])
        assert pairs.get(store, gone).answer == "<|im_end|>" and pairs.get(store, kept).answer == "There."

    def test_muted_findings_are_not_fixed_and_preferences_stay(self, store: Store) -> None:
        uid = add(store, " What?", "This.")
        review.mute(store, "space", uid=uid)
        votes.import_preferences(store, [PreferenceDraft((Turn("user", "Hi "),), "Hello.", "No.")], dataset="d")
        [judged] = preference_rows.search(store, dataset="d")
        last = edits.undoable(store)[0]
        fixed = problems.fix(store, "d", ["space"])
        assert (fixed.pairs, [finding.uid for finding in fixed.left]) == (0, [judged.uid])
        assert edits.undoable(store)[0] == last, "nothing was changed, so there is no edit"

    def test_rules_without_a_fix_are_refused(self, store: Store) -> None:
        add(store, "What?", "This.")
        for wrong in (["repeats"], ["conflict"], ["nonsense"], []):
            with pytest.raises(BadInput):
                problems.fix(store, "d", wrong)


def test_a_store_that_has_later_steps_still_gets_this_one(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are recorded by name, so one with a lower number may arrive after one with a higher."""
    before = [step for step in migrations.STEPS if step[0] != "0012_review"]
    assert before[-1][0] > "0012_review"
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", before)
        patch.setattr(migrations, "LATEST", len(before))
        with Store.open(home) as old:
            uid = add(old, " What?", "This.")
            assert old.scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'muted_rule'") == 0
    with Store.open(home) as store:
        assert review.mute(store, "space", uid=uid) and rules(store) == []
        assert store.integrity() == [] and store.scalar("PRAGMA user_version") == migrations.LATEST
        assert store.column("SELECT name FROM _sqlite_migrations ORDER BY id")[-1] == "0012_review"


def test_the_worked_examples_are_true() -> None:
    assert doctest.testmod(review).attempted >= 2 and doctest.testmod(review).failed == 0


class TestThresholds:
    TEXTS = (
        "one two three four five six seven eight",
        "one two three four five six seven nine",
        "one two three four five six ten nine",
        "zero two three four five six ten nine",
        "moon sun star sky night day dawn dusk",
        "moon sun star sky night day dawn Dusk.",
        "moon sun star sky night day noon dusk",
        "nothing is like this one here at all",
    )

    def test_the_histogram_counts_what_dedupe_finds_at_each_threshold(self, store: Store) -> None:
        uids = [add(store, text, "The same answer to all.") for text in self.TEXTS]
        pairs.set_status(store, [add(store, self.TEXTS[-1], "The same answer to all.")], "rejected")
        review.keep_apart(store, [uids[4], uids[6]])
        counts = thresholds.histogram(store, "d")
        assert [each.threshold for each in counts][::5] == [0.5, 0.75, 1.0]
        for each in counts:
            groups = dedupe.find(store, "d", near=each.threshold)
            found = sum(len(group.others) for group in groups)
            assert (each.groups, each.pairs, each.duplicates) == (len(groups), found + len(groups), found)
        assert (counts[0].groups, counts[0].pairs) == (2, 6) and (counts[-1].groups, counts[-1].pairs) == (1, 2)

    def test_a_dataset_without_duplicates(self, store: Store) -> None:
        add(store, "What?", "This.")
        assert {(each.groups, each.pairs) for each in thresholds.histogram(store, "d")} == {(0, 0)}
