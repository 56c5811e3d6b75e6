"""Judged answers: what a preflight refuses, how a dataset's preferences are frozen, what a configuration may say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.models.chat_template import ChatTemplate
from engine.training import data, run_control
from engine.training.activations import activation_bytes
from engine.training.config import FIELDS, TrainConfig
from engine.training.estimate import estimate
from engine.training.judged import check_feedback, check_preferences, contrasts
from engine.training.objectives import OBJECTIVES
from engine.training.recipes import RECIPES, config_for
from store import datasets, edits, pairs, preference_rows, votes
from store.db import Store
from store.errors import BadInput, UserError
from store.feedback import add_feedback
from store.records import FeedbackDraft, PairDraft, PreferenceDraft, SnapshotRow, Turn
from tests.engine import toys
from tests.engine.test_estimate import CPU, SMOL
from tests.judged import feedback, preference
from tests.tiny import config, make_tokenizer

ASKED = (Turn("user", "Who are you?"),)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ChatTemplate:
    folder = tmp_path_factory.mktemp("tiny")
    make_tokenizer(folder)
    return ChatTemplate.load(folder)


def dpo(**changes: Any) -> TrainConfig:
    return config(**{"objective": "dpo", "recipe": "preference", **changes})


def some(many: int = 20, **changes: Any) -> list[SnapshotRow]:
    return [preference(n, f"Who are you, {n}?", "I am Ember.", "I am no one.", **changes) for n in range(many)]


class TestPreflight:
    def test_it_counts_both_answers(self, template: ChatTemplate) -> None:
        rows = [
            *some(),
            preference(20, "Who?", "Ember.", "No.", split="val"),
            preference(21, "x", "y", "z", split="test"),
        ]
        found = check_preferences(rows, template, dpo())
        both = contrasts(rows, template, dpo())["train"].values()
        assert found.ok and (found.rows, found.val_rows, found.notes) == (20, 1, [])
        assert found.tokens == sum(len(each.chosen.ids) + len(each.rejected.ids) for each in both)
        assert found.trained_tokens == sum(each.chosen.n_trained + each.rejected.n_trained for each in both)
        assert found.longest == max(max(len(each.chosen.ids), len(each.rejected.ids)) for each in both)
        one, two = ("".join(text for text, trained in sample if trained) for sample in found.samples[:2])
        assert one.startswith("I am Ember.") and two.startswith("I am no one.")

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            (preference(20, "Who?", "  ", "No."), "Row 21 has no answer."),
            (preference(20, "Who?", "Ember.", " "), "Rejected answers: Row 21 has no answer."),
            (preference(20, "Who?", "Ember.", "Ember."), "the same tokens for the chosen and the rejected answer"),
            (preference(20, "Who? " * 90, "Ember.", "No."), "nothing to train: the question alone fills"),
        ],
    )
    def test_it_refuses(self, template: ChatTemplate, row: SnapshotRow, said: str) -> None:
        found = check_preferences([*some(), row], template, dpo(max_length=80))
        assert not found.ok and any(said in problem for problem in found.problems), found.problems
        with pytest.raises(BadInput, match="cannot start"):
            found.require()

    def test_answers_that_differ_only_where_they_are_cut_say_nothing(self, template: ChatTemplate) -> None:
        alike = "indeed " * 40
        row = preference(20, "Who?", alike + "yes", alike + "no")
        whole, cut = (check_preferences([*some(), row], template, dpo(max_length=limit)) for limit in (400, 40))
        assert whole.ok and not cut.ok
        assert "the max length of 40 tokens, takes away what differs" in cut.problems[0]

    def test_few_and_contradicting_ones_are_told(self, template: ChatTemplate) -> None:
        turned = [preference(0, "Who?", "A", "B"), preference(1, "Who?", "B", "A"), preference(2, "Why?", "A", "B")]
        notes = " ".join(check_preferences(turned, template, dpo()).notes)
        assert "1 preference contradicts another one" in notes and "only 3 preferences" in notes

    def test_only_the_last_answer_is_judged(self, template: ChatTemplate) -> None:
        row = preference(0, "Hi", "x", "y")
        talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."},
                {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ember."}]  # fmt: skip
        row = replace(row, messages=talk, rejected="No one.")
        (pair,) = contrasts([row], template, dpo())["train"].values()
        trained = template.decode(
            [id for id, label in zip(pair.chosen.ids, pair.chosen.labels, strict=True) if label >= 0]
        )
        assert "Ember." in trained and "Hello." not in trained
        assert pair.chosen.ids[: pair.prompt] == pair.rejected.ids[: pair.prompt]


class TestFeedback:
    def some(self, good: int, bad: int) -> list[SnapshotRow]:
        return [feedback(n, f"Who, {n}?", "Ember.", n < good) for n in range(good + bad)]

    def kto(self, **changes: Any) -> TrainConfig:
        return config(**{"objective": "kto", "recipe": "feedback", **changes})

    def test_it_counts_good_and_bad(self, template: ChatTemplate) -> None:
        found = check_feedback(self.some(12, 10), template, self.kto())
        assert found.ok and found.rows == 22
        assert found.notes == ["12 answers to train on were judged good, 10 bad."]

    @pytest.mark.parametrize(("good", "bad", "kind"), [(21, 0, "good"), (0, 21, "bad")])
    def test_one_kind_alone_is_refused(self, template: ChatTemplate, good: int, bad: int, kind: str) -> None:
        found = check_feedback(self.some(good, bad), template, self.kto())
        assert not found.ok and f"All 21 answers to train on were judged {kind}" in found.problems[0]

    def test_a_weight_is_advised_where_one_kind_is_rare(self, template: ChatTemplate) -> None:
        notes = check_feedback(self.some(20, 4), template, self.kto()).notes
        assert "the bad ones need a weight of 5 (--bad-weight)" in notes[0]
        assert "weight" not in check_feedback(self.some(20, 4), template, self.kto(bad_weight=5.0)).notes[0]

    def test_an_answer_judged_twice_is_told(self, template: ChatTemplate) -> None:
        twice = [feedback(0, "Who?", "Ember.", True), feedback(1, "Who?", "Ember.", False)]
        assert any("judged good and bad" in note for note in check_feedback(twice, template, self.kto()).notes)

    def test_a_batch_of_one_is_refused(self) -> None:
        with pytest.raises(BadInput, match="one row per step is too few") as caught:
            self.kto(batch_size=1)
        assert caught.value.where == "batch_size"


class TestFreezing:
    def keep(self, store: Store) -> None:
        drafts = [PreferenceDraft(ASKED, f"Ember {n}", "No", {"file": "p.jsonl", "line": n + 1}) for n in range(3)]
        votes.import_preferences(store, drafts, dataset="p")
        votes.import_preferences(store, [PreferenceDraft(ASKED, "Ember", "No")], dataset="p", split="val")

    def test_a_snapshot_holds_them_for_ever(self, store: Store) -> None:
        self.keep(store)
        found = data.freeze(store, "p", "dpo")
        rows = datasets.snapshot_rows(store, found.hash)
        assert (found.rows, found.splits, found.dataset) == (4, {"train": 3, "val": 1}, "p")
        assert rows == data.rows_of(store, "p", "dpo")
        assert {(row.messages[-1]["content"], row.rejected, row.kind) for row in rows if row.split == "train"} == {
            (f"Ember {n}", "No", "preference") for n in range(3)
        }
        assert {row.source.get("line") for row in rows} == {1, 2, 3, None}
        preference_rows.remove(store, [each.uid for each in preference_rows.search(store, dataset="p")])
        datasets.remove(store, "p")
        assert datasets.snapshot_rows(store, found.hash) == rows, "what was frozen stays"

    def test_equal_content_is_one_snapshot_and_other_content_another(self, store: Store) -> None:
        self.keep(store)
        first = data.freeze(store, "p", "dpo")
        assert data.freeze(store, "p", "dpo").hash == first.hash
        votes.import_preferences(store, [PreferenceDraft(ASKED, "Ember 0", "Never")], dataset="p")
        second = data.freeze(store, "p", "dpo")
        assert second.hash != first.hash and second.rows == 5

    def test_feedback_is_frozen_too_and_differs_by_its_judgement(self, store: Store) -> None:
        hashes = set()
        for name, good in (("one", True), ("two", False)):
            add_feedback(store, [FeedbackDraft(ASKED, "Ember", good)], dataset=name)
            found = preference_rows.freeze(store, name, "feedback")
            (row,) = datasets.snapshot_rows(store, found.hash)
            assert (row.good, row.kind, row.rejected) == (good, "feedback", None)
            hashes.add(found.hash)
        assert len(hashes) == 2

    def test_what_is_missing_is_named(self, store: Store) -> None:
        pairs.create_many(store, [PairDraft("Who?", "Ember.")], dataset="plain")
        with pytest.raises(UserError, match="no preference to learn from") as caught:
            run_control.submit(store, config_for("preference", "smollm2-135m", method="lora"), "plain")
        assert "votes collect" in str(caught.value.todo)
        votes.import_preferences(store, [PreferenceDraft(ASKED, "A", "B")], dataset="later", split="test")
        with pytest.raises(UserError, match="None of its 1 preferences is in the train split") as caught:
            data.freeze(store, "later", "dpo")
        assert caught.value.todo == "Import them with --split train."

    def test_a_snapshot_of_another_kind_is_refused(self, store: Store) -> None:
        self.keep(store)
        pairs.create_many(store, [PairDraft("Who?", "Ember.")], dataset="plain")
        plain, judged = datasets.freeze(store, "plain"), data.freeze(store, "p", "dpo")
        with pytest.raises(BadInput, match="holds pairs; the objective dpo trains on preferences"):
            data.snapshot_of(store, plain, "dpo")
        with pytest.raises(BadInput, match="holds preferences; the objective sft trains on pairs"):
            data.snapshot_of(store, judged.hash[:8], "sft")
        assert data.snapshot_of(store, judged.hash[:8], "dpo") == judged


class TestVotes:
    def vote(self, store: Store, choice: Any, n: int = 0) -> Any:
        return votes.add(
            store, prompt=[{"role": "user", "content": f"Who, {n}?"}], a_model="m", b_model="run:x",
            a_text="A model.", b_text="Ember.", choice=choice,
        )  # fmt: skip

    def test_votes_with_a_winner_become_preferences(self, store: Store) -> None:
        for n, choice in enumerate(("a", "b", "tie", "both_bad")):
            self.vote(store, choice, n)
        found = votes.collect(store, "votes")
        assert (found.new, found.known, found.removed) == (2, 0, 0)
        rows = preference_rows.search(store, dataset="votes")
        assert {(row.chosen, row.rejected, row.source["chosen"]) for row in rows} == {
            ("A model.", "Ember.", "m"), ("Ember.", "A model.", "run:x"),
        }  # fmt: skip
        assert votes.collect(store, "votes") == replace(found, new=0, known=2)

    def test_as_feedback_both_answers_are_judged(self, store: Store) -> None:
        for n, choice in enumerate(("a", "tie", "both_bad")):
            self.vote(store, choice, n)
        assert votes.collect(store, "votes", "feedback").new == 4
        rows = preference_rows.search(store, dataset="votes", kind="feedback")
        assert sum(row.chosen is not None for row in rows) == 1

    def test_an_undone_vote_leaves_the_dataset_and_other_rows_stay(self, store: Store) -> None:
        kept, gone = self.vote(store, "a"), self.vote(store, "b", 1)
        votes.import_preferences(store, [PreferenceDraft(ASKED, "mine", "not")], dataset="votes")
        votes.collect(store, "votes")
        votes.remove(store, gone.id)
        assert votes.collect(store, "votes") == votes.Collected("votes", 0, 1, 1)
        left = {row.source.get("vote") for row in preference_rows.search(store, dataset="votes")}
        assert left == {kept.id, None}
        edits.undo(store)
        assert len(preference_rows.search(store, dataset="votes")) == 3, "it is one edit, which can be undone"

    def test_without_a_winner_there_is_nothing(self, store: Store) -> None:
        self.vote(store, "tie")
        with pytest.raises(BadInput, match="No vote has a winner yet"):
            votes.collect(store, "votes")
        assert not datasets.all_datasets(store)


class TestConfig:
    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_every_objective_has_a_recipe_of_its_own_that_is_valid(self, objective: str) -> None:
        assert config_for(OBJECTIVES[objective].recipe, "m").objective == objective

    @pytest.mark.parametrize("field", ["rehearsal", "lr_trial", "dropout", "packing", "train_turns"])
    def test_what_dpo_does_not_use_is_refused_and_never_ignored(self, field: str) -> None:
        other = {"rehearsal": 0.5, "lr_trial": True, "dropout": 0.1, "packing": "padded", "train_turns": "last"}[field]
        with pytest.raises(BadInput, match="not used by the objective dpo") as caught:
            dpo(**{field: other})
        assert caught.value.where == field

    def test_a_method_that_cannot_train_it_is_refused(self) -> None:
        toys.register()
        try:
            with pytest.raises(BadInput, match="The objective dpo is not trained by the method toy") as caught:
                dpo(method="toy")
            assert (caught.value.where, caught.value.todo) == ("method", "Choose one of: lora, qlora.")
        finally:
            toys.unregister()

    def test_nor_does_sft_take_dpos(self) -> None:
        with pytest.raises(BadInput, match="Beta is not used by the objective sft"):
            config_for("identity", "m", beta=0.2)
        with pytest.raises(BadInput, match="Beta is not used"):
            config_for("identity", "m", beta=FIELDS["beta"].default)

    def test_a_recipe_for_another_objective_is_named(self) -> None:
        with pytest.raises(BadInput, match="Rehearsal is not used") as caught:
            config_for("identity", "m", objective="dpo")
        assert "such as preference" in str(caught.value.todo)

    @pytest.mark.parametrize("watch", [{"watch": "general"}, {"drift": True}, {"stop_when": "drift", "drift": True}])
    def test_a_run_may_watch_itself_whatever_it_trains_towards(self, watch: dict[str, Any]) -> None:
        assert dpo(**watch).objective == "dpo"

    def test_the_recipes_of_judged_answers_say_where_their_numbers_are_from(self) -> None:
        assert all(RECIPES[OBJECTIVES[name].recipe].sources for name in OBJECTIVES)


def test_older_configurations_keep_their_hash(tmp_path: Path) -> None:
    plain = TrainConfig(model="m")
    assert not {"on", "beta", "dpo_loss"} & set(plain.to_json())
    assert TrainConfig.from_json(plain.to_json()) == plain


def test_an_estimate_counts_both_answers_of_a_preference(template: ChatTemplate) -> None:
    found = check_preferences(some(64), template, dpo())
    one, two = (estimate(dpo(batch_size=size), found, SMOL, CPU).memory_bytes for size in (4, 64))
    more = 60 * 2 * found.longest * activation_bytes(SMOL.layers, SMOL.hidden, 4)
    assert two - one > more, "rows are padded and not packed, so that each of them takes memory"
