"""Memory, disk and numbers that fail in the middle of a run: it continues with less, waits, or goes back once."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.training.worker import checkpoints, packing, recovery
from engine.training.worker.contracts import Diverged, TrainingJob
from store.records import Wanted
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import Recorder, digests, train

TOO_MUCH = 2**50
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, from_call: int = 1) -> list[int]:
    """The allocator really fails for every pass of training of more than `most` tokens, from a call on."""
    real, sizes = packing.loss_sum, []

    def loss_sum(model: Any, pack: Any) -> torch.Tensor:
        loss = real(model, pack)
        if loss.requires_grad:
            sizes.append(pack.computed)
            if pack.computed > most and len(sizes) >= from_call:
                torch.empty(TOO_MUCH)
        return loss

    monkeypatch.setattr(packing, "loss_sum", loss_sum)
    return sizes


class TestMemory:
    def test_passes_become_smaller_and_the_run_is_as_good(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = config(steps=4)
        _, told = train(settings, rows(12), base, tmp_path / "plain")
        sizes = short_of_memory(monkeypatch, most=90, from_call=3)
        done, after = train(settings, rows(12), base, tmp_path / "short")
        assert done.state == "succeeded" and max(sizes[:2]) > 90 and all(size <= 90 for size in sizes[-6:])
        said = [text for level, text in after.said if "Memory ran out at step" in text and level == "warning"]
        assert said and "computes activations twice" in said[0]
        for step in (1, 2, 3, 4):
            assert after.numbers["loss"][step] == pytest.approx(told.numbers["loss"][step], rel=1e-4)

    def test_a_resumed_run_begins_with_what_it_was_down_to(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = short_of_memory(monkeypatch, most=90)
        whole, _ = train(config(steps=4), rows(12), base, tmp_path / "whole")
        first, _ = train(config(steps=4), rows(12), base, tmp_path / "parts", stop_after=2)
        sizes.clear()
        second, told = train(config(steps=4), rows(12), base, tmp_path / "parts", resume_from=first.adapter)
        assert all(size <= 90 for size in sizes) and not any("Memory ran out" in text for _, text in told.said)
        assert digests(second.adapter) == digests(whole.adapter)

    def test_a_row_that_does_not_fit_by_itself_ends_the_run(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = short_of_memory(monkeypatch, most=5)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            train(config(steps=2), rows(8), base, tmp_path)
        assert len(sizes) < 20


class TestNumbers:
    @staticmethod
    def spoil(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> None:
        """The weights really blow up: at some steps of training the gradient is enormous."""
        real, seen = packing.loss_sum, []

        def loss_sum(model: Any, pack: Any) -> torch.Tensor:
            loss = real(model, pack)
            if loss.requires_grad:
                seen.append(1)
                if len(seen) in calls:
                    loss.register_hook(lambda gradient: gradient * float("inf"))
            return loss

        monkeypatch.setattr(packing, "loss_sum", loss_sum)

    def test_a_run_goes_back_once_at_half_the_rate(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = config(steps=5, save_every=1, keep_checkpoints=9, scheduler="constant", warmup=0.0, lr=0.01)
        self.spoil(monkeypatch, {4})
        done, told = train(settings, rows(8), base, tmp_path)
        assert done.state == "succeeded"
        assert told.numbers["lr"] == pytest.approx({1: 0.01, 2: 0.01, 3: 0.01, 4: 0.005, 5: 0.005})
        (said,) = [text for _, text in told.said if "goes back to" in text]
        assert "step 3, its last checkpoint" in said and "half the learning rate" in said
        folders = [tmp_path / "checkpoints" / f"step-{step}" for step in (3, 4)]
        jobs = [TrainingJob(settings, rows(8), base, tmp_path, folder, told) for folder in (None, *folders)]
        assert [recovery.rate_factor(job) for job in jobs] == [1.0, 0.5, 0.5]

    def test_without_a_checkpoint_it_begins_again(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = config(steps=3, scheduler="constant", warmup=0.0, lr=0.01)
        wanted, _ = train(settings.replace(lr=0.005), rows(8), base, tmp_path / "half")
        self.spoil(monkeypatch, {2})
        done, told = train(settings, rows(8), base, tmp_path / "run")
        assert any("the beginning" in text for _, text in told.said)
        assert digests(done.adapter)[WEIGHTS] == digests(wanted.adapter)[WEIGHTS], "as a run at that rate"

    def test_a_second_time_it_stops(self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spoil(monkeypatch, {3, 5})
        with pytest.raises(Diverged):
            train(config(steps=6, save_every=1), rows(8), base, tmp_path)
        assert checkpoints.saved(tmp_path / "checkpoints"), "what was good is kept"


class Full(Recorder):
    """A disk that takes no file of more than 4 KB from `step` on, until the run says so; `wish` is wanted then."""

    def __init__(self, step: int, wish: Wanted = "run") -> None:
        super().__init__()
        self.step, self.wish, self.full = step, wish, False

    def metrics(self, step: int, values: dict[str, float | None]) -> None:
        super().metrics(step, values)
        if step == self.step and "loss" in values and not self.full:
            self.full = True
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def say(self, text: str, *, level: str = "info", **body: Any) -> None:
        super().say(text, level=level, **body)
        if "disk is full" in text and self.wish == "run":
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def wanted(self) -> Wanted:
        return self.wish if self.full else "run"


class TestDisk:
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(recovery, "POLL_S", 0.01)
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def test_a_run_waits_for_space_and_loses_nothing(self, base: Path, tmp_path: Path) -> None:
        settings = config(steps=4, save_every=2)
        plain, _ = train(settings, rows(8), base, tmp_path / "plain")
        told = Full(step=2)
        done, _ = train(settings, rows(8), base, tmp_path / "full", recorder=told)
        assert done.state == "succeeded" and told.saved == [2]
        assert [text for level, text in told.said if level == "warning"] == [
            "The disk is full. The run pauses until there is space for its checkpoint.",
            "There is space again: the checkpoint is written, and the run continues.",
        ]
        assert digests(done.adapter) == digests(plain.adapter)

    def test_a_stop_meanwhile_ends_it_with_the_checkpoints_that_it_has(self, base: Path, tmp_path: Path) -> None:
        told = Full(step=4, wish="stop")
        with pytest.raises((OSError, RuntimeError)):
            train(config(steps=6, save_every=2), rows(8), base, tmp_path, recorder=told)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert told.saved == [2] and not list((tmp_path / "checkpoints" / ".part").glob("checkpoint-*"))
        done, _ = train(
            config(steps=6, save_every=2), rows(8), base, tmp_path, resume_from=tmp_path / "checkpoints" / "step-2"
        )
        assert done.state == "succeeded"
