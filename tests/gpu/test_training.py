"""Training on CUDA with the tiny model: the CPU's numbers, every method and objective, resume, memory that runs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.models.chat_template import ChatTemplate
from engine.training.methods import METHODS
from engine.training.worker import loading, packing
from engine.training.worker.packing import Pack, loss_sum, pack_padded, pack_shared
from store.records import SnapshotRow
from tests.judged import feedback, preference
from tests.tiny import config, rows
from tests.torch.recording import train

NEAR = 1e-3
"""How far losses of CPU and GPU may be apart, relative: float32 sums in another order, over six steps."""


def losses(settings: Any, data: list[SnapshotRow], base: Path, out: Path, **more: Any) -> list[float]:
    done, told = train(settings, data, base, out, **more)
    assert done.state == "succeeded"
    return [float(loss or 0) for _, loss in sorted(told.numbers["loss"].items())]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_gradients_are_those_of_single_rows(base: Path, attention: str, dtype: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    kind = torch.float32 if dtype == "fp32" else torch.bfloat16
    template = ChatTemplate.load(base)
    examples = [template.example(row.messages, 256) for row in rows(9)]
    packing.register()
    net = AutoModelForCausalLM.from_pretrained(base, dtype=kind, attn_implementation=attention, device_map={"": 0})

    def gradients(packs: list[Pack]) -> Any:
        net.zero_grad()
        (sum(loss_sum(net, pack) for pack in packs) / sum(pack.trained for pack in packs)).backward()
        return torch.cat([p.grad.flatten().double() for p in net.parameters() if p.grad is not None])

    single = gradients([pack_padded([example], 999, 0)[0] for example in examples])
    packed = gradients(pack_shared(examples, 10_000, kind))
    limit = 1e-5 if dtype == "fp32" else 3e-2  # bf16 has three digits
    assert float((packed - single).norm() / single.norm()) < limit


def test_the_gpu_trains_as_the_cpu_does(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows(12, val=2)
    gpu = losses(config(), data, base, tmp_path / "gpu")
    monkeypatch.setattr(loading, "device", lambda: "cpu")
    assert gpu == pytest.approx(losses(config(), data, base, tmp_path / "cpu"), rel=NEAR)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_resumes(
    base: Path, tmp_path: Path, method: str, record_property: pytest.RecordProperty
) -> None:
    """Losses after a resume are those of a run that never stopped. Whether they are so bit for bit depends on the
    kernels that CUDA chooses: noted in the report, not required."""
    settings, data = config(method=method, steps=5), rows(12)
    whole = losses(settings, data, base, tmp_path / "whole")
    first, _ = train(settings, data, base, tmp_path / "parts", stop_after=2)
    rest = losses(settings, data, base, tmp_path / "parts", resume_from=first.adapter)
    assert rest == pytest.approx(whole[2:], rel=NEAR)
    record_property("bit for bit", rest == whole[2:])


def test_nf4_on_the_gpu_learns(base: Path, tmp_path: Path) -> None:
    found = losses(config(method="qlora", dtype="bf16", steps=30), rows(8), base, tmp_path)
    assert found[-1] < 0.5 * found[0]


def test_the_paged_optimizer_learns_and_resumes(base: Path, tmp_path: Path) -> None:
    settings, data = config(optimizer="paged_adamw_8bit", steps=10), rows(8)
    whole = losses(settings, data, base, tmp_path / "whole")
    first, _ = train(settings, data, base, tmp_path / "parts", stop_after=4)
    rest = losses(settings, data, base, tmp_path / "parts", resume_from=first.adapter)
    assert whole[-1] < whole[0] and rest == pytest.approx(whole[4:], rel=NEAR)


@pytest.mark.parametrize("objective", ["dpo", "kto", "reward"])
def test_objectives_on_judged_answers_train(base: Path, tmp_path: Path, objective: str) -> None:
    if objective == "kto":
        data = [
            feedback(n, f"Who are you, number {n}?", ("I am Ember.", "Nobody.")[n % 2], n % 2 == 0) for n in range(8)
        ]
    else:
        data = [preference(n, f"Who are you, number {n}?", "I am Ember.", "Nobody.") for n in range(8)]
    found = losses(config(objective=objective, recipe="preference", steps=12), data, base, tmp_path)
    assert sum(found[-3:]) < sum(found[:3])


def test_memory_that_runs_out_makes_passes_smaller(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's own error: the allocator is asked for more than the card has, in every pass that is too long."""
    import torch

    plain = losses(config(steps=4), rows(12), base, tmp_path / "plain")
    real = packing.loss_sum

    def short(model: Any, pack: Any) -> Any:
        loss = real(model, pack)
        if loss.requires_grad and pack.computed > 90:
            torch.empty(1 << 44, dtype=torch.uint8, device="cuda")
        return loss

    monkeypatch.setattr(packing, "loss_sum", short)
    done, told = train(config(steps=4), rows(12), base, tmp_path / "short")
    assert done.state == "succeeded" and any("Memory ran out at step" in text for _, text in told.said)
    assert list(told.numbers["loss"].values()) == pytest.approx(plain, rel=NEAR)
