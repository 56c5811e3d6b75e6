"""N steps equal k steps, a stop, a resume and N - k steps, bit for bit, with every method; so do two equal runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.training.methods import METHODS
from engine.training.objectives import OBJECTIVES
from engine.training.worker.methods import ADAPTERS
from engine.training.worker.objectives import TRAINERS
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import digests, train

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "bf16": {"dtype": "bf16"},
    "dropout": {"dropout": 0.2},  # the random state has to come back, too
    "cosine": {"scheduler": "cosine", "warmup": 0.5, "weight_decay": 0.1},
    "padded": {"packing": "padded"},
    "last turn": {"train_turns": "last"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def test_every_method_and_objective_has_its_half_in_the_worker() -> None:
    assert set(ADAPTERS) == set(METHODS) and set(TRAINERS) == set(OBJECTIVES)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_as_one_that_never_stopped(base: Path, tmp_path: Path, method: str, variant: str) -> None:
    settings = config(method=method, steps=5, **VARIANTS[variant])
    data = rows(12, val=2)
    whole, told = train(settings, data, base, tmp_path / "whole")
    assert (whole.state, whole.step, told.steps, len(told.numbers["loss"])) == ("succeeded", 5, 5, 5)

    first, before = train(settings, data, base, tmp_path / "parts", stop_after=2)
    assert (first.state, first.step, before.saved) == ("stopped", 2, [2])
    assert first.adapter == tmp_path / "parts" / "checkpoints" / "step-2"
    second, after = train(settings, data, base, tmp_path / "parts", resume_from=first.adapter)
    assert (second.state, second.step) == ("succeeded", 5)

    assert digests(second.adapter) == digests(whole.adapter)
    for name in ("loss", "grad_norm", "lr", "val_loss"):
        assert before.numbers[name] | after.numbers[name] == told.numbers[name], name


def test_the_test_would_see_a_lost_optimizer(base: Path, tmp_path: Path) -> None:
    """A control: the same weights trained on from a fresh optimizer end elsewhere."""
    settings, data = config(steps=4), rows(12)
    whole, _ = train(settings, data, base, tmp_path / "whole")
    first, _ = train(settings, data, base, tmp_path / "parts", stop_after=2)
    import torch

    state = torch.load(first.adapter / "optimizer.pt", weights_only=False)
    for each in state["state"].values():
        each["exp_avg"].zero_()
    torch.save(state, first.adapter / "optimizer.pt")
    from engine.training.worker import adapter_files
    from engine.training.worker.contracts import TrainingJob
    from tests.torch.recording import Recorder

    adapter_files.seal(first.adapter, TrainingJob(settings, data, base, tmp_path, None, Recorder()), 2, 4)
    second, _ = train(settings, data, base, tmp_path / "parts", resume_from=first.adapter)
    name = "adapter_model.safetensors"
    assert digests(second.adapter)[name] != digests(whole.adapter)[name]


def test_a_run_is_the_same_files_twice_and_another_seed_is_not(base: Path, tmp_path: Path) -> None:
    data = rows(9)
    folders = [
        train(config(steps=3, save_every=1, keep_checkpoints=2, seed=seed), data, base, tmp_path / str(n))[0].adapter
        for n, seed in enumerate((0, 0, 1))
    ]
    assert digests(folders[0]) == digests(folders[1])
    name = "adapter_model.safetensors"
    assert digests(folders[0])[name] != digests(folders[2])[name]
    one, two = ((folder.parent / "checkpoints" / "step-2") for folder in folders[:2])
    assert digests(one)[name] == digests(two)[name]
