"""Fused products and losses in chunks: gradients as without them, on every architecture; what does not fit stays."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from engine.models.chat_template import MASKED, ChatTemplate, Example
from engine.training.worker import fused, loading, packing, tree_attention
from engine.training.worker.chunked_loss import CHUNK, ChunkedLoss
from engine.training.worker.packing import Pack, loss_sum, pack_padded, pack_shared, trial
from tests import archs
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import digests, train

FP32 = torch.float32


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def examples(base: Path) -> list[Example]:
    template = ChatTemplate.load(base)
    return [template.example(row.messages, 256) for row in rows(9)]


def adapted(base: Path, seed: int = 1, **settings: Any) -> Any:
    """A model with an adapter whose weights are random, on the attention of packs."""
    loaded = loading.load(config(dtype="fp32", **settings), base, "cpu")
    packing.register()
    loaded.model.get_base_model().set_attn_implementation(packing.ATTENTION)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return loaded.model


def fuse(net: Any, dtype: torch.dtype = FP32) -> str:
    packs = pack_shared(trial(net.config.get_text_config().vocab_size), 10_000, dtype)
    packing.chunk_losses(net, packs[0], dtype)
    return fused.put_on(net, dtype, packs)


def gradients(net: Any, packs: list[Pack]) -> torch.Tensor:
    net.zero_grad()
    loss = sum(loss_sum(net, pack) for pack in packs) / sum(pack.trained for pack in packs)
    loss.backward()
    return torch.cat([p.grad.flatten().float() for p in net.parameters() if p.grad is not None])


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("limit", [10_000, 60])
@pytest.mark.parametrize(
    "settings", [{}, {"rslora": True}, {"targets": ("q_proj", "v_proj", "down_proj")}, {"rank": 3}]
)
def test_gradients_equal_those_of_padded_batches(
    base: Path, examples: list[Example], limit: int, settings: dict[str, Any]
) -> None:
    net = adapted(base, **settings)
    net.get_base_model().set_attn_implementation("eager")
    truth = gradients(net, pack_padded(examples, 10_000, 2))
    assert distance(truth, gradients(net, [pack_padded([each], 999, 0)[0] for each in examples])) < 1e-5
    net.get_base_model().set_attn_implementation(packing.ATTENTION)
    said = fuse(net)
    assert f"{14 if len(settings.get('targets', 'all-linear')) != 3 else 6} projections" in said
    assert distance(gradients(net, pack_shared(examples, limit, FP32)), truth) < 1e-5
    assert distance(gradients(net, pack_padded(examples, 10_000, 2)), truth) < 1e-5


def test_the_test_would_see_a_lost_term(base: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch) -> None:
    """A control: without one of the products of the backward pass, the trial switches all of it off."""
    net = adapted(base)
    packs = pack_shared(examples, 10_000, FP32)
    truth = gradients(net, packs)
    real = torch.addmm
    monkeypatch.setattr(torch, "addmm", lambda wide, *rest: wide.clone() if wide.dim() == 2 else real(wide, *rest))
    said = fuse(net)
    monkeypatch.undo()
    assert "other gradients" in said
    assert distance(gradients(net, packs), truth) < 1e-6, "it trains without"


@pytest.mark.parametrize("name", sorted(archs.ARCHS))
def test_every_architecture_keeps_its_gradients(tmp_path: Path, name: str) -> None:
    net = adapted(archs.make(name, tmp_path / name))
    if name.startswith("gemma2"):
        net.get_base_model().set_attn_implementation("eager")  # its scores are capped
    size = net.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randint(3, min(size, 300), (4, 30), generator=generator).tolist()
    data = [Example(r := drawn[0][:9] + row[9:], [MASKED] * 20 + r[20:], 20, False, True) for row in drawn]
    packs = pack_shared(data, 999, FP32)
    truth = gradients(net, packs)
    said = fuse(net)
    assert said.startswith("Fused for speed") and "projections" in said
    assert ("MLPs" in said) is (name not in ("gemma2", "gemma3", "phi3")), "theirs is another function, or one product"
    assert distance(gradients(net, packs), truth) < 1e-4


def test_bfloat16_differs_by_rounding_only(base: Path, examples: list[Example]) -> None:
    exact = gradients(adapted(base), pack_shared(examples, 999, FP32))
    net = adapted(base).to(torch.bfloat16)
    packs = pack_shared(examples, 999, torch.bfloat16)
    plain = distance(gradients(net, packs), exact)
    assert fuse(net, torch.bfloat16).startswith("Fused")
    assert distance(gradients(net, packs), exact) < max(1.2 * plain, 0.02)


def test_dequantised_weights_are_fused_and_others_take_their_place(base: Path, examples: list[Example]) -> None:
    """QLoRA's weights lie in W' as well; what replaces a layer's forward afterwards is computed with, not passed by."""
    net = adapted(base, method="qlora")
    packs = pack_shared(examples, 999, FP32)
    truth = gradients(net, packs)
    assert "14 projections" in fuse(net)
    assert distance(gradients(net, packs), truth) < 0.01, "the adapter is bf16 where PEFT computes with it"
    layer = net.get_base_model().model.layers[0].self_attn.k_proj.base_layer
    before = layer.forward
    layer.forward = lambda x: before(x) * 3
    with torch.no_grad():
        other = loss_sum(net, packs[0])
        layer.forward = before
        assert abs(float(other - loss_sum(net, packs[0]))) > 0.1


@pytest.mark.parametrize("settings", [{"dora": True}, {"dropout": 0.3}])
def test_what_cannot_be_fused_is_left_to_peft(base: Path, examples: list[Example], settings: dict[str, Any]) -> None:
    net = adapted(base, **settings)
    packs = pack_shared(examples, 999, FP32)
    for train_mode in (True, False):
        net.train(train_mode)
        torch.manual_seed(5)
        truth = gradients(net, packs)
        said = fuse(net) if train_mode else ""
        assert ("projections" in said) is (train_mode and "dropout" in settings)
        torch.manual_seed(5)
        assert distance(gradients(net, packs), truth) < 1e-5
        assert net.training is train_mode


def test_the_adapter_can_be_switched_off_and_changed(base: Path, examples: list[Example]) -> None:
    net = adapted(base)
    packs = pack_shared(examples, 999, FP32)
    with torch.no_grad(), net.disable_adapter():
        bare = loss_sum(net, packs[0])
    fuse(net)
    with torch.no_grad():
        tuned = loss_sum(net, packs[0])
        with net.disable_adapter():
            assert torch.isclose(loss_sum(net, packs[0]), bare)
        assert not torch.isclose(tuned, bare)
        for name, weight in net.named_parameters():
            if "lora_B" in name:
                weight.zero_()
        assert torch.isclose(loss_sum(net, packs[0]), bare), "today's B is read"
    loss = loss_sum(net, packs[0])
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "lora_A" in name:
                weight.add_(1)
        loss_sum(net, packs[0])
    with pytest.raises(RuntimeError, match="between a forward pass and its backward"):
        loss.backward()


def test_two_forward_passes_may_come_before_the_backward_passes(base: Path, examples: list[Example]) -> None:
    net = adapted(base)
    packs = pack_shared(examples, 80, FP32)
    assert len(packs) > 1
    truth = gradients(net, packs)
    fuse(net)
    assert distance(gradients(net, packs), truth) < 1e-5
    net.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    net.enable_input_require_grads()
    net.train()
    assert distance(gradients(net, packs), truth) < 1e-5, "computed twice, as when memory is short"


def test_trying_it_out_leaves_the_adapter_and_the_random_state(base: Path) -> None:
    net = adapted(base)
    before, state = {n: w.detach().clone() for n, w in net.named_parameters()}, torch.get_rng_state()
    net.train()
    fuse(net)
    assert net.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weight, before[name]) for name, weight in net.named_parameters())


def test_a_run_says_what_was_fused_and_memory_is_not_taken_twice(base: Path, tmp_path: Path) -> None:
    _, told = train(config(steps=2), rows(9), base, tmp_path / "run")
    assert any("Fused for speed: 14 projections" in text for _, text in told.said)
    net = adapted(base)
    fuse(net)
    layers = net.get_base_model().model.layers[0].self_attn
    q, k = (getattr(layers, name).base_layer.weight for name in ("q_proj", "k_proj"))
    assert q.untyped_storage().data_ptr() == k.untyped_storage().data_ptr()


class TestChunkedLoss:
    """Cross-entropy without all logits at once."""

    @staticmethod
    def pack(net: Any) -> Pack:
        return pack_shared(trial(net.config.get_text_config().vocab_size), 999, FP32)[0]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_it_is_the_cross_entropy_and_its_gradient(self, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        hidden = (torch.randn(2 * CHUNK + 7, 16) * 2).to(dtype).requires_grad_()
        head, targets = torch.randn(50, 16).to(dtype), torch.randint(50, (len(hidden),))
        truth = functional.cross_entropy((hidden @ head.t()).float(), targets, reduction="sum")
        (wanted,) = torch.autograd.grad(truth / 3, hidden)
        loss = ChunkedLoss.apply(hidden, head, targets)
        (found,) = torch.autograd.grad(loss / 3, hidden)
        assert torch.allclose(loss, truth, rtol=1e-5)
        assert distance(found.float(), wanted.float()) < (1e-6 if dtype == FP32 else 6e-3)

    def test_a_token_that_is_nearly_certain_keeps_its_gradient(self) -> None:
        """p - 1 of p = 0.9995 is nothing but rounding when p is rounded to bf16 first."""
        head = torch.eye(2).to(torch.bfloat16)
        hidden = torch.tensor([[7.625, 0.0]]).to(torch.bfloat16).requires_grad_()
        (found,) = torch.autograd.grad(ChunkedLoss.apply(hidden, head, torch.tensor([0])), hidden)
        assert float(found[0, 0]) == pytest.approx(-float(torch.sigmoid(torch.tensor(-7.625))), rel=0.01)

    def test_capped_logits_are_not_taken_in_chunks(self, tmp_path: Path) -> None:
        net = adapted(archs.make("gemma2", tmp_path / "gemma2"))
        net.get_base_model().set_attn_implementation("eager")
        with torch.no_grad():
            net.get_base_model().lm_head.weight.mul_(100)  # so that the cap of 30 is felt
        assert not packing.chunk_losses(net, self.pack(net), FP32)
        tuned = adapted(make_tiny_llama(tmp_path / "llama"))
        assert packing.chunk_losses(tuned, self.pack(tuned), FP32)
        assert "forward" not in tuned.get_base_model().lm_head.__dict__, "the head is itself again"


def test_packs_are_computed_row_by_row(base: Path, monkeypatch: pytest.MonkeyPatch, examples: list[Example]) -> None:
    calls = []
    real = tree_attention.RowPlan.tables
    monkeypatch.setattr(tree_attention.RowPlan, "tables", lambda self, *a: calls.append(a) or real(self, *a))
    gradients(adapted(base), pack_shared(examples, 999, FP32))
    assert calls, "the plan reaches the attention of every layer"


def test_a_plan_names_each_token_once_and_blocks_rows_of_similar_length() -> None:
    rows = [([0, 1, 2, 3], [0, 1, 2, 3]), ([4], [0, 4]), (list(range(5, 25)), [0, *range(5, 25)])]
    tables = tree_attention.RowPlan(rows, 25).tables(2, 1, FP32)
    assert [(block.rows, block.long) for block in tables.blocks] == [(1, 21), (1, 4), (1, 2)]
    gathered = torch.cat([block.queries for block in tables.blocks])
    assert torch.equal(gathered[tables.back], torch.arange(50))
    assert tables.offsets.tolist()[:2] == [0, 3], "token 0 is a key of three rows"


def test_a_resumed_run_is_the_same_with_dropout_and_without(base: Path, tmp_path: Path) -> None:
    """Rows of many lengths, several packs a step: the fused run ends as one that was stopped in between."""
    settings = config(steps=3, dropout=0.1, batch_size=6)
    whole, _ = train(settings, rows(12), base, tmp_path / "whole")
    first, _ = train(settings, rows(12), base, tmp_path / "parts", stop_after=1)
    second, _ = train(settings, rows(12), base, tmp_path / "parts", resume_from=first.adapter)
    assert digests(second.adapter) == digests(whole.adapter)


def test_the_worked_example_of_the_module_is_true() -> None:
    result = doctest.testmod(fused)
    assert result.attempted >= 4 and result.failed == 0
