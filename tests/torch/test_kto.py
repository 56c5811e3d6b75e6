"""KTO on the tiny model: its loss by hand, what training does to good and bad answers, resume bit for bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from engine.models.chat_template import ChatTemplate
from engine.training.judged import answers
from engine.training.worker.objectives.kto import MismatchedCollator
from store.records import SnapshotRow
from tests.judged import feedback
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import digests, train
from tests.torch.test_dpo import log_probability, tuned


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def judged(many: int = 8, val: int = 0) -> list[SnapshotRow]:
    """Every second answer is bad."""
    return [
        feedback(n, f"Who are you, number {n}?", f"I am {'Ember' if n % 2 == 0 else 'no one'}{' indeed' * (n % 3)}.",
                 n % 2 == 0, split="val" if n >= many - val else "train")
        for n in range(many)
    ]  # fmt: skip


def settings(**changes: Any) -> Any:
    return config(**{"objective": "kto", "recipe": "feedback", "steps": 5, "lr": 1e-3, **changes})


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("beta", "good_weight", "bad_weight"), [(0.1, 1.0, 1.0), (0.5, 1.0, 3.0)])
def test_the_loss_equals_a_hand_computation(
    base: Path, tmp_path: Path, beta: float, good_weight: float, bad_weight: float
) -> None:
    """Two rows in one batch, two steps: the loss that step 2 reports is that of the weights after step 1."""
    data = judged(2)
    run = settings(steps=2, beta=beta, good_weight=good_weight, bad_weight=bad_weight, batch_size=2, save_every=1,
                   scheduler="constant", warmup=0.0, lr=5e-3)  # fmt: skip
    _, told = train(run, data, base, tmp_path)
    model = tuned(base, tmp_path / "checkpoints" / "step-1")
    made = list(answers(data, ChatTemplate.load(base), run).train.values())
    swapped = []
    for one, two in (made, made[::-1]):
        ids = one.ids[: one.n_prompt] + two.ids[two.n_prompt :]
        labels = [-100] * one.n_prompt + two.ids[two.n_prompt :]
        swapped.append(type(one)(ids, labels, one.n_prompt, False, True))

    def gained(example: Any) -> float:
        after = log_probability(model, example)
        with model.disable_adapter():
            return after - log_probability(model, example)

    moved = max(0.0, sum(map(gained, swapped)) / 2)
    good, bad = map(gained, made)
    losses = good_weight * (1 - sigmoid(beta * (good - moved))), bad_weight * (1 - sigmoid(beta * (moved - bad)))
    assert told.numbers["loss"][1] == pytest.approx((good_weight + bad_weight) / 4, abs=1e-6), "it starts at σ(0)"
    assert told.numbers["loss"][2] == pytest.approx(sum(losses) / 2, abs=1e-4)
    assert told.numbers["kl"][2] == pytest.approx(moved, abs=1e-3)
    assert told.numbers["reward_good"][2] == pytest.approx(beta * good, abs=1e-4)
    assert told.numbers["reward_bad"][2] == pytest.approx(beta * bad, abs=1e-4)


def test_training_parts_good_answers_from_bad_ones(base: Path, tmp_path: Path) -> None:
    data = judged(8, val=2)
    done, told = train(settings(steps=12, lr=3e-3), data, base, tmp_path)
    model = tuned(base, done.adapter)
    made = answers(data, ChatTemplate.load(base), settings()).train
    change = {True: 0.0, False: 0.0}
    for row in data[:6]:
        after = log_probability(model, made[row.ord])
        with model.disable_adapter():
            change[bool(row.good)] += after - log_probability(model, made[row.ord])
    assert change[True] > change[False]
    assert list(told.numbers["margin"].values())[-1] > 0  # type: ignore[operator]
    assert {"val_loss", "val_margin", "val_kl"} <= set(told.numbers)


@pytest.mark.parametrize("changes", [{}, {"dtype": "bf16"}, {"method": "qlora"}])
@pytest.mark.parametrize("on_top", [False, True])
def test_a_resumed_run_ends_as_one_that_never_stopped(
    base: Path, tmp_path: Path, changes: dict[str, Any], on_top: bool
) -> None:
    start = train(config(steps=3, **changes), rows(8), base, tmp_path / "sft")[0].adapter if on_top else None
    run, data = settings(**changes), judged(11, val=2)  # nine rows to train on: a batch of one in each pass
    whole, told = train(run, data, base, tmp_path / "whole", start=start)
    first, before = train(run, data, base, tmp_path / "parts", stop_after=2, start=start)
    second, after = train(run, data, base, tmp_path / "parts", resume_from=first.adapter, start=start)
    assert (first.state, second.state, second.step) == ("stopped", "succeeded", 5)
    assert digests(second.adapter) == digests(whole.adapter)
    for name in ("loss", "kl", "grad_norm", "val_loss"):
        assert before.numbers[name] | after.numbers[name] == told.numbers[name], name


def test_each_prompt_gets_the_answer_of_another_row() -> None:
    made = [{"prompt_ids": [n], "completion_ids": [10 + n], "label": True} for n in range(3)]
    collate = MismatchedCollator(0, made)
    assert collate.torch_call(made)["KL_input_ids"].tolist() == [[0, 12], [1, 10], [2, 11]]
    assert collate.torch_call(made[:1])["KL_input_ids"].tolist() == [[0, 11]], "also in a batch of one"


def test_rows_are_shuffled_in_each_pass(base: Path, tmp_path: Path) -> None:
    """Good and bad rows alternate, so that in a fixed order each batch of two has one of each and the same loss."""
    run = settings(steps=9, lr=1e-12, batch_size=2, good_weight=2.0)
    _, told = train(run, judged(6), base, tmp_path)
    losses = {round(value or 0, 4) for value in told.numbers["loss"].values()}
    assert 0.75 in losses and len(losses) > 1
