"""N steps equal k steps, a stop, a resume and N - k steps, bit for bit, with every method; so do two equal runs."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from engine.training.config import used_by
from engine.training.methods import METHODS
from engine.training.objectives import OBJECTIVES
from engine.training.worker import checkpoints
from engine.training.worker.methods import ADAPTERS
from engine.training.worker.objectives import TRAINERS
from engine.training.worker.objectives.sft import SftTrainer
from store.errors import Conflict
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
    "whole modules": {"modules_to_save": ("norm", "embed_tokens")},
    "lora+": {"lora_plus": 16.0, "lora_init": "gaussian"},
    "neftune": {"neftune": 5.0},
    "accumulation": {"accumulation": 2, "batch_size": 2},
}
"""Settings beside a method; one that the method does not use is left out."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def test_every_method_and_objective_has_its_half_in_the_worker() -> None:
    assert set(ADAPTERS) == set(METHODS) and set(TRAINERS) == set(OBJECTIVES)


@pytest.mark.parametrize(
    ("method", "variant"),
    [(m, v) for m in METHODS for v, fields in VARIANTS.items() if all(used_by(m, field, "sft") for field in fields)],
)
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


class TestMoreSteps:
    """A finished run continues for more steps from the state at its end."""

    @pytest.mark.parametrize("changes", [{}, {"dtype": "bf16"}, {"dropout": 0.2}, {"method": "qlora"}, {"epochs": 9.0}])
    def test_k_steps_and_n_more_are_k_plus_n_steps(self, base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
        settings = config(scheduler="constant", warmup=0.0, **changes)
        data = rows(12, val=2)
        whole, told = train(settings.replace(steps=7), data, base, tmp_path / "whole")
        first, before = train(settings.replace(steps=3), data, base, tmp_path / "parts")
        assert (first.state, before.saved) == ("succeeded", []), "the end is no checkpoint to choose"
        end = tmp_path / "parts" / "checkpoints" / "end"
        second, after = train(settings.replace(steps=7), data, base, tmp_path / "parts", resume_from=end)
        assert (second.state, second.step, after.steps) == ("succeeded", 7, 7)
        assert digests(second.adapter) == digests(whole.adapter)
        assert before.numbers["loss"] | after.numbers["loss"] == told.numbers["loss"]

    @pytest.mark.parametrize("scheduler", ["linear", "cosine"])
    def test_the_schedule_spans_all_steps_from_there_on_and_the_log_says_so(
        self, base: Path, tmp_path: Path, scheduler: str
    ) -> None:
        settings = config(scheduler=scheduler, warmup=0.2)
        _, told = train(settings.replace(steps=10), rows(12), base, tmp_path / "whole")
        train(settings.replace(steps=5), rows(12), base, tmp_path / "parts")
        end = tmp_path / "parts" / "checkpoints" / "end"
        _, after = train(settings.replace(steps=10), rows(12), base, tmp_path / "parts", resume_from=end)
        later = {step: rate for step, rate in told.numbers["lr"].items() if step > 5}
        assert after.numbers["lr"] == later and all(rate for rate in later.values())
        (said,) = [text for _, text in after.said if "10 steps now instead of 5" in text]
        assert f"{later[6]:.3g}" in said and scheduler in said

    @pytest.mark.parametrize("change", [{"steps": 2}, {"steps": 9, "lr": 0.5}, {"steps": 9, "seed": 4}])
    def test_only_more_steps_are_taken(self, base: Path, tmp_path: Path, change: dict[str, Any]) -> None:
        train(config(steps=3), rows(12), base, tmp_path)
        with pytest.raises(Conflict, match="another configuration"):
            train(config(**{"steps": 3, **change}), rows(12), base, tmp_path, resume_from=tmp_path / "checkpoints/end")

    def test_a_full_disk_costs_only_the_state_at_the_end(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(SftTrainer, "_save_checkpoint", full)
        done, told = train(config(steps=2), rows(12), base, tmp_path)
        assert done.state == "succeeded" and (done.adapter / "adapter_model.safetensors").is_file()
        assert any("cannot be continued" in text for level, text in told.said if level == "warning")
        assert not (tmp_path / "checkpoints" / "end").exists()


class TestKept:
    """Which checkpoints are left on the disk."""

    @pytest.mark.parametrize("lr", [1e-2, 0.2])
    def test_the_best_is_kept_beside_the_last(self, base: Path, tmp_path: Path, lr: float) -> None:
        settings = config(steps=6, save_every=1, keep_checkpoints=2, lr=lr, scheduler="constant", warmup=0.0)
        _, told = train(settings, rows(12, val=3), base, tmp_path)
        losses = {step: told.numbers["val_loss"][step] for step in told.saved}
        best = min(losses, key=lambda step: (losses[step], -step))
        assert [step for step, _ in checkpoints.saved(tmp_path / "checkpoints")] == sorted({best, 4, 5})
        if lr == 0.2:
            assert best == 1, "this rate is far too high, so that the loss rises"

    def test_a_resumed_run_knows_the_best_from_before(self, base: Path, tmp_path: Path) -> None:
        settings = config(steps=6, save_every=1, keep_checkpoints=1, lr=0.2, scheduler="constant", warmup=0.0)
        train(settings, rows(12, val=3), base, tmp_path / "whole")
        first, _ = train(settings, rows(12, val=3), base, tmp_path / "parts", stop_after=3)
        train(settings, rows(12, val=3), base, tmp_path / "parts", resume_from=first.adapter)
        kept = [[s for s, _ in checkpoints.saved(tmp_path / name / "checkpoints")] for name in ("whole", "parts")]
        assert kept[0] == kept[1] == [1, 5]

    def test_from_an_earlier_checkpoint_the_later_ones_go(self, base: Path, tmp_path: Path) -> None:
        settings = config(steps=6, save_every=1, keep_checkpoints=9)
        train(settings, rows(12), base, tmp_path / "one", stop_after=5)
        folder = tmp_path / "one" / "checkpoints"
        done, told = train(settings, rows(12), base, tmp_path / "one", resume_from=folder / "step-2")
        assert [path.name for path in told.gone] == ["step-3", "step-4", "step-5"]
        assert done.step == 6 and sum("continues from step 2" in text for _, text in told.said) == 3
