"""Reward models on the tiny model: the loss by hand, what training does, resume, scores read where they must be."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.models.chat_template import ChatTemplate
from engine.training.judged import contrasts
from engine.training.worker import scoring
from engine.training.worker.scoring import Scorer
from store.errors import BadInput, Unsupported
from tests.judged import preference
from tests.tiny import chat, config, make_tiny_llama, rows
from tests.torch.recording import digests, train
from tests.torch.test_dpo import preferences


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def settings(**changes: Any) -> Any:
    return config(**{"objective": "reward", "recipe": "reward", "steps": 5, "lr": 1e-3, **changes})


def test_the_loss_equals_a_hand_computation(base: Path, tmp_path: Path) -> None:
    """The loss that step 2 reports is that of the weights after step 1, read by the scorer that users have."""
    data = preferences(3)
    run = settings(steps=2, save_every=1, scheduler="constant", warmup=0.0)
    _, told = train(run, data, base, tmp_path)
    scorer = Scorer(run, base, tmp_path / "checkpoints" / "step-1")
    both = contrasts(data, ChatTemplate.load(base), run)["train"].values()
    chosen, rejected = (scorer.of_ids(ids) for ids in ([e.chosen.ids for e in both], [e.rejected.ids for e in both]))
    margins = [one - two for one, two in zip(chosen, rejected, strict=True)]
    assert told.numbers["loss"][2] == pytest.approx(sum(math.log(1 + math.exp(-m)) for m in margins) / 3, abs=1e-5)
    assert told.numbers["margin"][2] == pytest.approx(sum(margins) / 3, abs=1e-5)
    assert told.numbers["accuracy"][2] == pytest.approx(sum(m > 0 for m in margins) / 3)


@pytest.mark.parametrize("changes", [{}, {"dtype": "bf16"}, {"method": "qlora"}, {"dora": True}])
def test_training_agrees_with_the_preferences_and_resumes(base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    data, run = preferences(10, val=2), settings(steps=16, lr=3e-3, **changes)
    whole, told = train(run, data, base, tmp_path / "whole")
    assert told.numbers["accuracy"][16] == 1 and {"val_loss", "val_accuracy", "val_margin"} <= set(told.numbers)
    first, before = train(run, data, base, tmp_path / "parts", stop_after=7)
    second, after = train(run, data, base, tmp_path / "parts", resume_from=first.adapter)
    assert digests(second.adapter) == digests(whole.adapter)
    assert before.numbers["loss"] | after.numbers["loss"] == told.numbers["loss"]
    assert "adapter.gguf" not in digests(whole.adapter), "llama.cpp has no place for its head"
    scorer = Scorer(run, base, whole.adapter)
    for row in data:
        rejected = [*row.messages[:-1], {"role": "assistant", "content": row.rejected}]
        good, bad = scorer.of_messages([row.messages, rejected])
        assert good > bad


def test_a_score_does_not_depend_on_the_rows_beside_it(base: Path, tmp_path: Path) -> None:
    """This tokenizer pads with the token that ends a turn: taken for padding, another token's number would be read."""
    template = ChatTemplate.load(base)
    assert template.pad_id == template.eot_id and scoring.pad_of(template) != template.eot_id
    done, _ = train(settings(), preferences(), base, tmp_path)
    scorer = Scorer(settings(), base, done.adapter)
    answers = [chat("Who are you?", f"I am Ember{' indeed' * n}.") for n in (0, 5, 1, 9)]
    together = scorer.of_messages(answers)
    alone = [scorer.of_messages([answer])[0] for answer in answers]
    assert together == pytest.approx(alone, abs=1e-5)
    whole = template.example(answers[0], 99).ids
    assert scorer.of_ids([whole]) != pytest.approx(scorer.of_ids([whole[:-1]]), abs=1e-6), "the last token is read"


def test_the_head_is_kept_in_float32_and_saved_with_the_adapter(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    done, _ = train(settings(dtype="bf16"), preferences(), base, tmp_path)
    saved = load_file(done.adapter / "adapter_model.safetensors")
    heads = {name: tensor.dtype for name, tensor in saved.items() if "score" in name}
    assert list(heads.values()) == [torch.float32]
    made = json.loads((done.adapter / "adapter_config.json").read_text())
    assert made["task_type"] == "SEQ_CLS" and "score" in made["modules_to_save"]


@pytest.mark.parametrize("of", ["sft", "reward"])
def test_it_continues_an_answering_run_or_a_reward_model(base: Path, tmp_path: Path, of: str) -> None:
    first = config(steps=4) if of == "sft" else settings(steps=12, lr=3e-3)
    start = train(first, rows(8) if of == "sft" else preferences(), base, tmp_path / "first")[0].adapter
    _, fresh = train(settings(), preferences(), base, tmp_path / "fresh")
    _, told = train(settings(), preferences(), base, tmp_path / "second", start=start)
    assert told.numbers["loss"][1] != fresh.numbers["loss"][1]
    if of == "reward":
        assert told.numbers["loss"][1] < fresh.numbers["loss"][1]  # type: ignore[operator]


def test_cut_answers_are_refused(base: Path, tmp_path: Path) -> None:
    long = preference(8, "Who?", "Ember. " * 60, "No.")
    with pytest.raises(BadInput, match="reads the end of an answer"):
        train(settings(max_length=64), [*preferences(), long], base, tmp_path)


def test_an_architecture_without_such_a_head_is_refused(base: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from engine.training.worker import loading

    monkeypatch.setattr(loading, "HEAD", "no_such_head")
    with pytest.raises(Unsupported, match=r"reward model cannot be made|not in the files"):
        train(settings(), preferences(), base, tmp_path)


@pytest.mark.parametrize(
    "changes", [{"watch": "general"}, {"drift": True}, {"stop_when": "probes"}, {"result": "learned"}]
)
def test_what_asks_for_answers_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="writes no answers"):
        settings(**changes)
    assert settings(stop_when="val-loss", result="val-loss").objective == "reward"
