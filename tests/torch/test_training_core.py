"""The parts of the training core by themselves: optimizer, learning rate, broken numbers, NF4, checkpoints, notes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import Parameter

from engine.models.chat_template import ChatTemplate
from engine.training.worker import adapter_files, checkpoints, loading
from engine.training.worker.methods import qlora
from engine.training.worker.optim import MasterAdamW, schedule
from store.errors import BadInput, Conflict, Unsupported, WorkerError
from tests.chat_templates import FAMILIES
from tests.tiny import CHATML, config, make_tiny_llama, row, rows
from tests.torch.recording import train

BF16 = torch.bfloat16


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


class TestMasterAdamW:
    def weights(self, dtype: torch.dtype = BF16) -> list[Parameter]:
        torch.manual_seed(0)
        return [Parameter(torch.randn(4, 3).to(dtype)), Parameter(torch.randn(5).to(dtype))]

    def step(self, optimizer: MasterAdamW, weights: list[Parameter], seed: int) -> None:
        torch.manual_seed(seed)
        for weight in weights:
            weight.grad = torch.randn(weight.shape).to(weight.dtype)
        optimizer.step()
        optimizer.zero_grad()

    def test_in_fp32_it_is_torchs_own(self) -> None:
        ours, theirs = self.weights(torch.float32), self.weights(torch.float32)
        a = MasterAdamW(ours, lr=0.1, weight_decay=0.1)
        b = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.1, fused=True)
        for seed in range(3):
            self.step(a, ours, seed)
            self.step(b, theirs, seed)  # type: ignore[arg-type]
        assert all(torch.equal(one, two) for one, two in zip(ours, theirs, strict=True))

    def test_updates_too_small_for_bf16_add_up(self) -> None:
        weight = Parameter(torch.ones(1, dtype=BF16))
        optimizer = MasterAdamW([weight], lr=1e-4, weight_decay=0.0)
        seen = set()
        for _ in range(60):
            weight.grad = torch.ones(1, dtype=BF16)
            optimizer.step()
            seen.add(weight.item())
        assert len(seen) > 1 and weight.item() < 0.999, "bf16 alone would stay at 1: 1 - 1e-4 rounds back to it"

    def test_state_comes_back_exactly(self, tmp_path: Path) -> None:
        weights = self.weights()
        optimizer = MasterAdamW(weights, lr=0.01)
        for seed in range(3):
            self.step(optimizer, weights, seed)
        torch.save(optimizer.state_dict(), tmp_path / "state.pt")
        again = [Parameter(torch.zeros_like(weight)) for weight in weights]
        restored = MasterAdamW(again, lr=0.5)
        restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=False))
        assert all(torch.equal(one, two) for one, two in zip(weights, again, strict=True)), "the weights follow"
        for seed in (7, 8):
            self.step(optimizer, weights, seed)
            self.step(restored, again, seed)
        assert all(torch.equal(one, two) for one, two in zip(weights, again, strict=True))
        masters = zip(optimizer.state_dict()["masters"], restored.state_dict()["masters"], strict=True)
        assert all(torch.equal(one, two) and one.dtype == torch.float32 for one, two in masters)


class TestSchedule:
    @pytest.mark.parametrize(
        ("shape", "warmup", "total", "curve"),
        [
            ("linear", 0, 4, [1, 0.75, 0.5, 0.25]),
            ("linear", 2, 6, [1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25]),
            ("constant", 1, 4, [0.5, 1, 1, 1]),
            ("cosine", 0, 4, [1, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4]),
            ("cosine", 3, 4, [0.25, 0.5, 0.75, 1]),
            ("linear", 4, 4, [0.2, 0.4, 0.6, 0.8]),
            ("linear", 0, 1, [1]),
        ],
    )
    def test_curves(self, shape: str, warmup: int, total: int, curve: list[float]) -> None:
        share = schedule(shape, warmup, total)
        assert [share(step) for step in range(total)] == pytest.approx(curve)

    @pytest.mark.parametrize("shape", ["linear", "cosine", "constant"])
    def test_no_step_is_wasted_and_none_is_above_the_peak(self, shape: str) -> None:
        for total in (1, 2, 3, 10, 101):
            for warmup in range(total + 1):
                curve = [schedule(shape, warmup, total)(step) for step in range(total)]
                assert all(0 < each <= 1 for each in curve), (total, warmup)
                assert curve[:warmup] == sorted(curve[:warmup]) and curve[warmup:] == sorted(curve[warmup:])[::-1]

    def test_a_run_follows_it(self, base: Path, tmp_path: Path) -> None:
        _, told = train(config(steps=4, warmup=0.25, lr=0.01), rows(8), base, tmp_path)
        assert list(told.numbers["lr"].values()) == pytest.approx([0.005, 0.01, 0.01 * 2 / 3, 0.01 / 3])


class TestBrokenNumbers:
    def test_a_loss_that_is_no_number_ends_the_run_at_once(self, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        broken = make_tiny_llama(tmp_path / "base")
        weights = load_file(broken / "model.safetensors")
        weights["model.norm.weight"][3] = float("nan")
        save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(WorkerError, match="loss became nan at step 1"):
            train(config(packing="padded"), rows(8), broken, tmp_path / "out")
        assert not (tmp_path / "out" / "adapter").exists()

    def test_a_gradient_that_is_no_number_ends_it_too(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from engine.training.worker import packing

        real, calls = packing.loss_sum, []

        def spoiled(model: Any, pack: Any) -> torch.Tensor:
            loss = real(model, pack)
            calls.extend([1] if loss.requires_grad else [])  # trying the packing out takes no gradient
            if len(calls) >= 3 and loss.requires_grad:  # the third step: its loss is good, its gradient is not
                loss.register_hook(lambda gradient: gradient * float("inf"))
            return loss

        monkeypatch.setattr(packing, "loss_sum", spoiled)
        settings = config(save_every=1, keep_checkpoints=9)
        with pytest.raises(WorkerError, match=r"gradient became (nan|inf) at step 3"):
            train(settings, rows(8), base, tmp_path)
        left = checkpoints.saved(tmp_path / "checkpoints")
        assert [step for step, _ in left] == [1, 2], "what was good is kept, and nothing broken is saved"
        assert checkpoints.verify(left[-1][1], settings, rows(8)) == 2


class TestNf4:
    @pytest.mark.parametrize("dtype", [BF16, torch.float32])
    @pytest.mark.parametrize("bias", [False, True])
    def test_kept_dequantised_it_is_bitsandbytes_product_bit_for_bit(self, dtype: torch.dtype, bias: bool) -> None:
        import bitsandbytes as bnb

        torch.manual_seed(0)
        plain = torch.nn.Linear(128, 64, bias=bias)
        layer = bnb.nn.Linear4bit(128, 64, bias=bias, compute_dtype=dtype, quant_type="nf4", compress_statistics=True)
        layer.load_state_dict(plain.state_dict())
        model = torch.nn.Sequential(layer.to("cpu")).to(dtype)
        model.train()
        x = torch.randn(7, 128, dtype=dtype, requires_grad=True)
        layer.support_avx512bf16_for_cpu = False  # as keep_dequantised sets it, so that both take the same kernel
        theirs = model(x)
        (gradient,) = torch.autograd.grad(theirs.float().square().sum(), x)
        assert "dequantised once" in qlora.keep_dequantised(model, dtype)
        ours = model(x)
        (ours_gradient,) = torch.autograd.grad(ours.float().square().sum(), x)
        assert torch.equal(ours, theirs) and torch.equal(ours_gradient, gradient)
        assert not torch.allclose(theirs.float(), plain(x.float()), atol=1e-4), "it is the quantised weight's product"

    def test_without_memory_nothing_is_kept(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(qlora, "RESIDENT_SHARE", 0.0)
        loaded = loading.load(config(method="qlora"), base, "cpu")
        assert loaded.notes == ("Memory is short: the NF4 weights are dequantised in every step.",)

    def test_an_adapter_is_trained_the_same_either_way(
        self, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept, _ = train(config(method="qlora", steps=2), rows(8), base, tmp_path / "kept")
        monkeypatch.setattr(qlora, "RESIDENT_SHARE", 0.0)
        plain, _ = train(config(method="qlora", steps=2), rows(8), base, tmp_path / "plain")
        name = "adapter_model.safetensors"
        assert (kept.adapter / name).read_bytes() == (plain.adapter / name).read_bytes()


class TestVerify:
    @pytest.fixture(scope="class")
    def made(self, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        outcome, _ = train(config(), rows(8, val=1), base, tmp_path_factory.mktemp("run"), stop_after=2)
        return outcome.adapter

    def test_its_own_run_may_go_on(self, made: Path) -> None:
        assert checkpoints.verify(made, config(), rows(8, val=1)) == 2

    @pytest.mark.parametrize("change", [{"lr": 2e-2}, {"seed": 1}, {"train_turns": "last"}, {"dora": True}])
    def test_another_configuration_may_not(self, made: Path, change: dict[str, Any]) -> None:
        with pytest.raises(Conflict, match="another configuration"):
            checkpoints.verify(made, config(**change), rows(8, val=1))

    def test_nor_may_other_data(self, made: Path, base: Path, tmp_path: Path) -> None:
        data = rows(8, val=1)
        said = [*data[:-1], row(7, "Who?", "Somebody else.", split="val")]
        moved = [replace(data[0], split="val"), *data[1:]]
        swapped = [replace(data[1], ord=0), replace(data[0], ord=1), *data[2:]]
        for other in (data[:-1], said, moved, swapped):
            with pytest.raises(Conflict, match="with other data"):
                checkpoints.verify(made, config(), other)
        with pytest.raises(Conflict):  # and a run asks, before it loads anything
            train(config(), said, base, tmp_path, resume_from=made)

    @pytest.mark.parametrize("name", checkpoints.NEEDED)
    def test_a_missing_or_damaged_file_is_named(self, made: Path, tmp_path: Path, name: str) -> None:
        import shutil

        folder = tmp_path / "copy"
        shutil.copytree(made, folder)
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(BadInput, match=f"damaged: {name}"):
            checkpoints.verify(folder, config(), rows(8, val=1))
        (folder / name).unlink()
        with pytest.raises(BadInput, match=f"incomplete: {name}"):
            checkpoints.verify(folder, config(), rows(8, val=1))
        (folder / "manifest.json").unlink()
        with pytest.raises(BadInput, match="no manifest"):
            checkpoints.verify(folder, config(), rows(8, val=1))


def test_an_adapter_written_twice_is_the_same_bytes(base: Path, tmp_path: Path) -> None:
    loaded = loading.load(config(targets=("v_proj", "q_proj", "down_proj")), base, "cpu")
    for name in ("one", "two"):
        adapter_files.write(loaded.model, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    written = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert written["target_modules"] == ["down_proj", "q_proj", "v_proj"]
    assert written["base_model_name_or_path"] == "tiny", "the reference, not a path of this machine"


def test_an_adapter_is_read_back_exactly(base: Path, tmp_path: Path) -> None:
    first = loading.load(config(dtype="bf16"), base, "cpu").model
    for parameter in first.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    adapter_files.write(first, tmp_path)
    second = loading.load(config(dtype="bf16", seed=1), base, "cpu").model
    adapter_files.read(second, tmp_path)
    for (name, one), (_, two) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(one, two) and one.dtype == two.dtype, name


def test_an_adapter_on_the_head_is_refused(base: Path) -> None:
    with pytest.raises(Unsupported, match="output matrix"):
        loading.load(config(targets=("q_proj", "lm_head")), base, "cpu")


def test_saving_memory_by_computing_activations_twice_changes_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training.worker.fused import SwiGlu

    calls: list[int] = []
    real = SwiGlu.forward
    monkeypatch.setattr(SwiGlu, "forward", staticmethod(lambda *inputs: calls.append(1) or real(*inputs)))
    plain, _ = train(config(steps=2), rows(8), base, tmp_path / "plain")
    once = len(calls)
    monkeypatch.setattr(loading, "needs_checkpointing", lambda *_: True)
    frugal, _ = train(config(steps=2), rows(8), base, tmp_path / "frugal")
    assert len(calls) - once > once, "they were computed twice"
    name = "adapter_model.safetensors"
    assert (plain.adapter / name).read_bytes() == (frugal.adapter / name).read_bytes()


def test_every_row_is_tokenised_once(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = ChatTemplate.example

    def counted(self: ChatTemplate, messages: Any, *args: Any, **named: Any) -> Any:
        seen.append(str(messages))
        return real(self, messages, *args, **named)

    monkeypatch.setattr(ChatTemplate, "example", counted)
    data = rows(10, val=3)
    train(config(steps=6, epochs=3), data, base, tmp_path)
    assert sorted(seen) == sorted(str(each.messages) for each in data)


def test_a_run_says_which_rows_train_only_their_last_answer(tmp_path: Path) -> None:
    talk = ("Hi", "Hello.", "Who?", "Ember.")
    data = [row(0, *talk), row(1, "Hi", "x"), row(2, *talk), row(3, *talk)]
    for template, warned in ((CHATML, False), (FAMILIES["qwen3"].template, True)):
        base = make_tiny_llama(tmp_path / f"base-{warned}", template=template)
        _, told = train(config(steps=1), data, base, tmp_path / f"out-{warned}")
        assert any(level == "warning" and "3 rows train only" in text for level, text in told.said) is warned


def test_a_checkpoint_is_kept_whole_and_old_ones_go(base: Path, tmp_path: Path) -> None:
    outcome, told = train(config(save_every=1, keep_checkpoints=2), rows(8, val=2), base, tmp_path)
    assert told.saved == [1, 2, 3, 4, 5], "the sixth step is the end"
    assert [step for step, _ in checkpoints.saved(tmp_path / "checkpoints")] == [4, 5]
    assert [path.name for path in told.gone] == ["step-1", "step-2", "step-3"]
    assert set(told.numbers["val_loss"]) == {1, 2, 3, 4, 5, 6}
    assert outcome.adapter == tmp_path / "adapter" and not (tmp_path / "checkpoints" / ".part").exists()
