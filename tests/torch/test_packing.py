"""Packing: gradients equal to padded batches and to single rows, on every architecture; prefixes computed once."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.models.chat_template import MASKED, ChatTemplate, Example
from engine.training.worker import packing
from engine.training.worker.packing import Pack, loss_sum, pack_padded, pack_shared
from tests import archs
from tests.tiny import chat, config, make_tiny_llama, make_tokenizer, rows
from tests.torch.recording import train

FP32 = torch.float32


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def examples(base: Path) -> list[Example]:
    template = ChatTemplate.load(base)
    return [template.example(row.messages, 256) for row in rows(9)]


def model(base: Path, attention: str = "sdpa") -> Any:
    from transformers import AutoModelForCausalLM

    packing.register()
    return AutoModelForCausalLM.from_pretrained(base, dtype=FP32, attn_implementation=attention)


def gradients(net: Any, packs: list[Pack]) -> torch.Tensor:
    net.zero_grad()
    loss = sum(loss_sum(net, pack) for pack in packs) / sum(pack.trained for pack in packs)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def alone(examples: list[Example]) -> list[Pack]:
    return [pack_padded([example], 999, 0)[0] for example in examples]


@pytest.mark.parametrize("attention", ["sdpa", packing.ATTENTION, "eager"])
def test_gradients_equal_those_of_single_rows(base: Path, examples: list[Example], attention: str) -> None:
    truth = gradients(model(base, "eager"), alone(examples))
    net = model(base, attention)
    assert distance(gradients(net, pack_shared(examples, 10_000, FP32)), truth) < 1e-5
    assert distance(gradients(net, pack_shared(examples, 60, FP32)), truth) < 1e-5
    assert distance(gradients(net, pack_padded(examples, 10_000, 2)), truth) < 1e-5


def test_gradients_equal_transformers_own_loss(base: Path, examples: list[Example]) -> None:
    net = model(base)
    trained = sum(e.n_trained for e in examples)
    loss = sum(
        net(input_ids=torch.tensor([e.ids]), labels=torch.tensor([e.labels])).loss * e.n_trained for e in examples
    )
    net.zero_grad()
    (loss / trained).backward()
    truth = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert distance(gradients(net, pack_shared(examples, 10_000, FP32)), truth) < 1e-5


def test_the_test_would_see_a_leak(base: Path, examples: list[Example]) -> None:
    (pack,) = pack_shared(examples, 10_000, FP32)
    leaky = {**pack.inputs, "attention_mask": torch.zeros_like(pack.inputs["attention_mask"]).triu(1) * 0}
    net = model(base)
    truth = gradients(net, [pack])
    broken = Pack(leaky, pack.keep, pack.targets, pack.trained, pack.real, pack.computed)
    assert distance(gradients(net, [broken]), truth) > 0.01


def test_prefixes_are_computed_once(examples: list[Example]) -> None:
    (pack,) = pack_shared(examples, 10_000, FP32)
    assert pack.real == sum(len(e.ids) for e in examples)
    assert pack.computed == pack.inputs["input_ids"].shape[1] < 0.7 * pack.real
    assert pack.trained == sum(e.n_trained for e in examples) == len(pack.keep)


def test_a_branching_tree_reads_back_as_its_rows(examples: list[Example]) -> None:
    (pack,) = pack_shared(examples, 10_000, FP32)
    ids, sees = pack.inputs["input_ids"][0], pack.inputs["attention_mask"][0, 0] == 0
    positions = pack.inputs["position_ids"][0]
    leaves = [ids[sees[at]].tolist() for at in range(len(ids)) if not sees[at + 1 :, at].any()]
    assert sorted(leaves) == sorted(example.ids for example in examples)
    for at in range(len(ids)):  # what a token sees has the positions 0, 1, … up to its own
        assert positions[sees[at]].tolist() == list(range(int(positions[at]) + 1))


def test_equal_rows_and_rows_without_a_prefix(base: Path) -> None:
    twice = [Example([5, 6, 7, 8, 9], [MASKED, MASKED, MASKED, 8, 9], 3, False, True)] * 2
    other = Example([50, 6, 7, 8], [MASKED, MASKED, 7, 8], 2, False, True)
    bare = Example([40, 41], [MASKED, 41], 1, False, True)
    data = [*twice, other, bare]
    net = model(base)
    assert distance(gradients(net, pack_shared(data, 999, FP32)), gradients(net, alone(data))) < 1e-5


def test_packs_keep_to_their_size_and_to_each_other(examples: list[Example]) -> None:
    packs = pack_shared(examples, 80, FP32)
    assert len(packs) > 1
    assert all(pack.computed <= 80 or pack.real == pack.computed for pack in packs)
    assert sum(pack.real for pack in packs) == sum(len(e.ids) for e in examples)
    assert sum(pack.trained for pack in packs) == sum(e.n_trained for e in examples)
    long = pack_shared([Example(list(range(3, 203)), [MASKED] * 199 + [202], 199, False, True)], 80, FP32)
    assert [pack.computed for pack in long] == [200]


def test_padded_batches_keep_to_their_size(examples: list[Example]) -> None:
    packs = pack_padded(examples, 100, 2)
    assert all(pack.computed <= 100 or pack.inputs["input_ids"].shape[0] == 1 for pack in packs)
    assert sum(pack.trained for pack in packs) == sum(e.n_trained for e in examples)


def test_the_cpu_attention_heeds_dropout_and_refuses_what_it_cannot_do(base: Path) -> None:
    q, kv = torch.randn(1, 4, 5, 16), torch.randn(1, 2, 5, 16)
    mask = torch.zeros(1, 1, 5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    module = torch.nn.Module()
    module.num_key_value_groups, module.is_causal = 2, True
    ours, _ = packing._attention(module, q, kv, kv, mask)
    wide = kv.repeat_interleave(2, 1)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, wide, wide, attn_mask=mask)
    assert torch.allclose(ours, theirs.transpose(1, 2), atol=1e-6)
    dropped, _ = packing._attention(module, q, kv, kv, mask, dropout=0.9)
    assert not torch.allclose(dropped, ours)
    for option in ({"softcap": 30.0}, {"s_aux": torch.zeros(4)}):
        with pytest.raises(ValueError, match="neither"):
            packing._attention(module, q, kv, kv, mask, **option)


@pytest.mark.parametrize("name", sorted(archs.ARCHS))
def test_agreement_is_true_only_where_gradients_are_equal(tmp_path: Path, name: str) -> None:
    from transformers import AutoModelForCausalLM

    packing.register()
    folder = archs.make(name, tmp_path / name)
    net = AutoModelForCausalLM.from_pretrained(folder, dtype=FP32)
    size = net.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randint(3, min(size, 300), (4, 30), generator=generator).tolist()
    data = [Example(r := drawn[0][:9] + row[9:], [MASKED] * 20 + r[20:], 20, False, True) for row in drawn]
    truth = gradients(net, alone(data))
    agreed = []
    for attention in (packing.ATTENTION, net.config._attn_implementation):
        net.set_attn_implementation(attention)
        if packing.agrees(net, size, FP32):
            agreed.append(attention)
            assert distance(gradients(net, pack_shared(data, 999, FP32)), truth) < 1e-4
    assert agreed, "every one of these can be packed one way or the other"


def test_a_model_that_ignores_the_mask_is_found_out(base: Path) -> None:
    net = model(base)
    own = net.forward
    net.forward = lambda attention_mask=None, **rest: own(**rest)
    assert not packing.agrees(net, 400, FP32)
    net.forward = lambda position_ids=None, **rest: own(**rest)
    assert not packing.agrees(net, 400, FP32)
    net.forward = own
    assert packing.agrees(net, 400, FP32)
    assert net.training is False


def test_the_worked_example_of_the_module_is_true() -> None:
    result = doctest.testmod(packing)
    assert result.attempted >= 6 and result.failed == 0


def conversations(template: ChatTemplate, *, last_turn: bool = False) -> list[Example]:
    """Rows of one to four turns; some begin alike, some in the middle of others, one has a turn that is context."""
    turns = ("Who are you?", "I am Ember.", "And you?", "Paris.", "So?", "Two and two are four.", "Long ago?", "Yes.")
    data = [chat(*turns[:many], *rest) for many, rest in ((2, ()), (4, ()), (6, ()), (8, ()), (4, ("Hi", "No.")))]
    data += [chat(*turns[2:6], system="You are a helpful assistant."), chat(*turns[2:8], system="You are a helpful")]
    data[2][1]["weight"] = 0
    return [template.example(messages, 256, last_turn=last_turn) for messages in data]


@pytest.mark.parametrize("attention", ["sdpa", packing.ATTENTION, "eager"])
def test_gradients_of_conversations_equal_those_of_padded_batches(base: Path, attention: str) -> None:
    data = conversations(ChatTemplate.load(base))
    assert [example.turns for example in data] == [1, 2, 2, 4, 3, 2, 3]
    net = model(base, attention)
    truth = gradients(net, pack_padded(data, 10_000, 2))
    assert distance(truth, gradients(net, alone(data))) < 1e-5
    for limit in (10_000, 90):
        packs = pack_shared(data, limit, FP32)
        assert sum(pack.trained for pack in packs) == sum(example.n_trained for example in data)
        assert distance(gradients(net, packs), truth) < 1e-5
    assert pack_shared(data, 10_000, FP32)[0].computed < sum(len(example.ids) for example in data)
    fewer = gradients(net, pack_shared(conversations(ChatTemplate.load(base), last_turn=True), 10_000, FP32))
    assert distance(fewer, truth) > 0.1, "the earlier turns count"


def experts(folder: Path, family: str, router_logits: bool) -> Path:
    """A tiny random mixture of experts with the tokenizer of the tiny Llama."""
    import transformers

    vocabulary = make_tokenizer(folder)
    plain = {
        "vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "output_router_logits": router_logits, "initializer_range": 0.2,
    }  # fmt: skip
    torch.manual_seed(0)
    if family == "mixtral":
        made = transformers.MixtralForCausalLM(transformers.MixtralConfig(**plain, num_local_experts=4))
    else:
        more = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "head_dim": 16}
        made = transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**plain, **more))
    made.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_experts_whose_router_loss_takes_no_packed_mask_are_padded(tmp_path: Path, family: str) -> None:
    """With `output_router_logits` the forward of training computes a loss from an ordinary mask only."""
    base = experts(tmp_path / "base", family, router_logits=True)
    done, told = train(config(targets=("q_proj", "v_proj"), steps=2), rows(6), base, tmp_path / "run")
    assert done.state == "succeeded"
    assert any("padded instead" in text for _, text in told.said)
    padded, _ = train(
        config(targets=("q_proj", "v_proj"), steps=2, packing="padded"), rows(6), base, tmp_path / "padded"
    )
    name = "adapter_model.safetensors"
    assert (done.adapter / name).read_bytes() == (padded.adapter / name).read_bytes()


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_experts_without_that_loss_are_packed(tmp_path: Path, family: str) -> None:
    base = experts(tmp_path / "base", family, router_logits=False)
    _, told = train(config(targets=("q_proj", "v_proj"), steps=2), rows(6), base, tmp_path / "run")
    assert not any("padded instead" in text for _, text in told.said)


def test_a_model_that_fails_only_in_train_mode_is_found_out(base: Path) -> None:
    net = model(base)
    assert packing.agrees(net, 300, FP32)
    before = torch.get_rng_state()
    forward = net.forward

    def fails(*args: Any, **kwargs: Any) -> Any:
        if net.training and "position_ids" in kwargs:
            raise ValueError("too many values to unpack")
        return forward(*args, **kwargs)

    net.forward = fails
    assert not packing.agrees(net, 300, FP32)
    assert torch.equal(torch.get_rng_state(), before), "trying it out draws no random number of the run"
