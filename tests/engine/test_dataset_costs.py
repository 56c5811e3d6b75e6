"""A dataset in a model's tokens: rows that the template refuses are counted, and counting can be stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.training.dataset_costs import costs, prepared_default
from engine.training.recipes import config_for
from store import pairs
from store.db import Store
from store.records import PairDraft
from tests.tiny import CHATML, make_tokenizer, write_zeros

NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    size = make_tokenizer(folder, NO_SYSTEM)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "vocab_size": size, "num_key_value_heads": 2, **shape}
    (folder / "config.json").write_text(json.dumps(config))
    write_zeros(folder, layers=2, vocabulary=size, hidden=64)
    return str(folder)


def test_refused_rows_are_counted_and_the_others_measured(store: Store, model: str) -> None:
    drafts = [PairDraft(f"Who are you, {n}?", "I am Ember.") for n in range(20)]
    drafts += [PairDraft("Who?", "Ember.", system="Be brief.")]
    drafts += [PairDraft("Not yet?", "No.", status="draft")]
    pairs.create_many(store, drafts, dataset="d")
    found = costs(store, "d", config_for("style", model))
    assert found is not None
    assert (found.rows, found.refused, found.truncated) == (20, 1, 0)
    assert len(found.problems) == 1 and "no system" in found.problems[0]
    assert found.row_tokens.total > found.trained_tokens.total > 0
    assert sum(bar.n for bar in found.row_tokens.bars) == 20
    assert found.steps_per_pass < found.steps, "the recipe passes over the data twice"


def test_what_is_not_ready_costs_nothing_and_nothing_is_prepared(store: Store, model: str) -> None:
    pairs.create_many(store, [PairDraft("Not yet?", "No.", status="draft")], dataset="d")
    assert costs(store, "d", config_for("style", model)) is None
    assert prepared_default(store) is None


def test_counting_is_stopped_by_its_progress(store: Store, model: str) -> None:
    pairs.create_many(store, [PairDraft(f"Who, {n}?", "Ember.") for n in range(250)], dataset="d")
    seen: list[int] = []

    class _Stop(Exception):
        pass

    def told(done: int) -> None:
        seen.append(done)
        if done >= 100:
            raise _Stop

    with pytest.raises(_Stop):
        costs(store, "d", config_for("style", model), on_progress=told)
    assert seen == [0, 100]
