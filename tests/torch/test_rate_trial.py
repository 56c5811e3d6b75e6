"""The rate trial on the tiny model: it leaves weights and random state alone, and finds a rate that is far off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.training.worker import rate_trial
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize(("lr", "taken"), [(1e-5, 3e-5), (1e-4, 3e-4), (1e-3, 3e-3)])
def test_a_rate_far_off_is_corrected(base: Path, tmp_path: Path, lr: float, taken: float) -> None:
    _, told = train(config(steps=4, lr=lr, lr_trial=True, scheduler="constant", warmup=0.0), rows(24), base, tmp_path)
    assert list(told.numbers["lr"].values()) == pytest.approx([taken] * 4)
    kept = json.loads((tmp_path / "rate.json").read_text())
    assert kept["lr"] == pytest.approx(taken) and len(kept["losses"]) == 3
    assert any(f"the run takes {taken:.2g}" in text for _, text in told.said)


def test_the_run_is_the_same_as_one_with_that_rate(base: Path, tmp_path: Path) -> None:
    tried, _ = train(config(steps=4, lr=1e-3, lr_trial=True), rows(24), base, tmp_path / "tried")
    rate = json.loads((tmp_path / "tried" / "rate.json").read_text())["lr"]
    given, _ = train(config(steps=4, lr=rate), rows(24), base, tmp_path / "given")
    one, two = (load_file(each.adapter / "adapter_model.safetensors") for each in (tried, given))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_resumed_run_keeps_its_rate(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(steps=6, lr=1e-3, lr_trial=True, scheduler="constant", warmup=0.0, save_every=3)
    stopped, told = train(settings, rows(24), base, tmp_path, stop_after=3)
    monkeypatch.setattr(rate_trial, "_try", None)  # a second trial would fail
    ended, again = train(settings, rows(24), base, tmp_path, resume_from=stopped.adapter)
    assert ended.step == 6 and set(again.numbers["lr"].values()) == set(told.numbers["lr"].values())


@pytest.mark.parametrize(
    ("losses", "taken"), [([1.0, 2.0, 3.0], 1e-3), ([3.0, 1.0, 2.0], 3e-3), ([float("inf")] * 3, 1e-3)]
)
def test_the_lowest_loss_decides_and_a_rate_that_diverges_never_wins(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], taken: float
) -> None:
    monkeypatch.setattr(rate_trial, "_try", lambda *args: losses)
    _, told = train(config(steps=2, lr=3e-3, lr_trial=True, scheduler="constant", warmup=0.0), rows(8), base, tmp_path)
    assert list(told.numbers["lr"].values()) == pytest.approx([taken] * 2)
