"""Every training method on the tiny model: what it trains, that packing stays exact, and that its files say the same to
PEFT, to our own reader and to chat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from engine.gguf import adapter as gguf_adapter
from engine.gguf.tensors import is_plain, read_adapter
from engine.inference.backends.transformers import Transformers
from engine.inference.records import Finish, GenerationRequest
from engine.inference.sampling import Sampling
from engine.inference.server import lane_check
from engine.inference.template_cache import TemplateCache
from engine.inference.threads import Budget
from engine.models.adapter_kinds import kind_of
from engine.models.chat_template import ChatTemplate, Example
from engine.models.refs import Resolved
from engine.training.methods import METHODS
from engine.training.methods.adalora import first_rank
from engine.training.worker import loading, merge, packing
from engine.training.worker.objectives import sft
from engine.training.worker.optim import MasterAdamW, optimizer_of
from store.errors import Unsupported
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import Recorder, digests, train

VIRTUAL = ("prompt", "p-tuning", "prefix", "p-tuning-v2")
NEW = ("adalora", "full", *VIRTUAL)
SETTINGS: dict[str, dict[str, Any]] = {name: {"virtual_tokens": 5} for name in VIRTUAL}
IDS = [5, 17, 40, 33, 8, 90, 41]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An adapter of each method, after some steps at a high rate."""
    out = tmp_path_factory.mktemp("runs")
    made = {}
    for name in ("lora", *NEW):
        settings = config(method=name, steps=8, lr=0.05, **SETTINGS.get(name, {}))
        made[name] = train(settings, rows(12), base, out / name)[0].adapter
    return made


def loaded(base: Path, method: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    settings = config(method=method, **{**SETTINGS.get(method, {}), **changes})
    return loading.load(settings, base, "cpu")


def peft_model(base: Path, adapter: Path) -> Any:
    """As anyone would load it: PEFT's own forward, nothing of ours."""
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()


def last_logits(model: Any, ids: list[int] = IDS) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0, -1]


def examples(base: Path) -> list[Example]:
    template = ChatTemplate.load(base)
    return [template.example(row.messages, 256) for row in rows(9)]


def gradients(model: Any, packs: list[packing.Pack]) -> list[torch.Tensor]:
    model.zero_grad()
    for pack in packs:
        packing.loss_sum(model, pack).backward()
    return [p.grad.clone() for p in model.parameters() if p.requires_grad and p.grad is not None]


class TestVirtualTokens:
    @pytest.mark.parametrize("attention", ["sdpa", "eager", packing.ATTENTION])
    @pytest.mark.parametrize("method", VIRTUAL)
    def test_packed_rows_have_the_gradients_of_padded_ones(self, base: Path, method: str, attention: str) -> None:
        packing.register()
        model = loaded(base, method).model
        model.get_base_model().set_attn_implementation(attention)
        data = examples(base)
        truth = gradients(model, packing.pack_padded(data, 10_000, 2))
        assert truth and all(grad.abs().sum() > 0 for grad in truth)
        for limit in (10_000, 90):
            packed = packing.pack_shared(data, limit, torch.float32)
            assert sum(pack.computed for pack in packed) < sum(pack.real for pack in packed)
            for one, two in zip(gradients(model, packed), truth, strict=True):
                assert (one - two).norm() <= 1e-5 * two.norm()

    @pytest.mark.parametrize("method", VIRTUAL)
    def test_padded_rows_have_the_logits_of_pefts_own_forward(self, base: Path, method: str) -> None:
        model = loaded(base, method).model
        model.eval()
        ids = torch.tensor([IDS, [*IDS[:4], 2, 2, 2]])
        mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
        ours = model(input_ids=ids, attention_mask=mask).logits
        theirs = type(model).forward(model, input_ids=ids, attention_mask=mask).logits[:, -7:]
        real = mask.bool()
        assert torch.allclose(ours[real], theirs[real], atol=1e-5)
        last = model(input_ids=ids, logits_to_keep=2).logits
        assert torch.allclose(last, model(input_ids=ids).logits[:, -2:], atol=1e-5)
        with model.disable_adapter():
            plain = model(input_ids=ids).logits
        assert not torch.allclose(plain[0], ours[0], atol=1e-3)
        assert torch.equal(plain, model.get_base_model()(ids).logits)

    @pytest.mark.parametrize("method", VIRTUAL)
    def test_a_run_packs(self, base: Path, method: str) -> None:
        found = loaded(base, method)
        told = Recorder()
        packer = sft.choose_packer(config(method=method), found, ChatTemplate.load(base), told)
        data = examples(base)
        assert told.said == [] and len(packer(data)) == 1 and packer(data)[0].inputs["input_ids"].shape[0] == 1

    def test_deep_tokens_are_never_checkpointed(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loading, "activation_bytes", lambda *_: 1e15)
        for method in METHODS:
            wanted = loading.needs_checkpointing(loaded(base, method), config(method=method), 1 << 40)
            assert wanted is (method not in ("prefix", "p-tuning-v2")), method


@pytest.mark.parametrize("method", NEW)
def test_training_lowers_the_loss_and_peft_reads_what_was_trained(
    base: Path, trained: dict[str, Path], method: str
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    tuned = peft_model(base, trained[method])
    packs = packing.pack_padded(examples(base), 10_000, 2)
    assert (last_logits(tuned) - last_logits(plain)).abs().max() > 1e-2
    if method in VIRTUAL:  # PEFT's forward has no logits to keep
        packing_model = loaded(base, method).model
        from engine.training.worker import adapter_files

        adapter_files.read(packing_model, trained[method])
        packing_model.eval()
        assert torch.allclose(last_logits(packing_model), last_logits(tuned), atol=1e-4)
        tuned = packing_model
    with torch.no_grad():
        assert packing.loss_sum(tuned, packs[0]) < packing.loss_sum(plain, packs[0])


class TestAdaLora:
    def test_ranks_move_until_their_mean_is_the_one_asked_for(self, trained: dict[str, Path]) -> None:
        state = load_file(trained["adalora"] / "adapter_model.safetensors")
        kept = [int(value.count_nonzero()) for name, value in state.items() if name.endswith("lora_E")]
        assert all(len(v) == first_rank(4) for n, v in state.items() if n.endswith("lora_E"))
        assert sum(kept) == 4 * len(kept) and len(set(kept)) > 1, kept

    def test_it_is_a_lora_to_every_reader(self, base: Path, trained: dict[str, Path], tmp_path: Path) -> None:
        from engine.gguf.tensors import MergedWeights
        from engine.inference.backends.adalora import write_lora

        adapter = trained["adalora"]
        assert is_plain(adapter)
        tuned = peft_model(base, adapter)
        merged = tuned.merge_and_unload()
        weights = MergedWeights(base, adapter)
        for name, parameter in merged.named_parameters():
            if name != "lm_head.weight":
                assert np.allclose(weights(name), parameter.detach().numpy(), atol=1e-6), name
        lora = peft_model(base, write_lora(adapter, tmp_path))
        assert torch.allclose(last_logits(lora), last_logits(peft_model(base, adapter)), atol=1e-5)
        ranks = [delta.factors()[0].shape[0] for delta in read_adapter(adapter).values()]
        assert sum(ranks) == 4 * len(ranks)
        assert gguf_adapter.convert(adapter, base, tmp_path / "a.gguf").stat().st_size > 0

    @pytest.mark.parametrize("steps", [1, 2, 3])
    def test_a_run_of_few_steps_ends_well(self, base: Path, tmp_path: Path, steps: int) -> None:
        done, _ = train(config(method="adalora", steps=steps), rows(6), base, tmp_path)
        state = load_file(done.adapter / "adapter_model.safetensors")
        assert done.state == "succeeded" and all(tensor.isfinite().all() for tensor in state.values())


class TestFull:
    def test_every_weight_is_trained_and_the_table_is_shared(self, base: Path, trained: dict[str, Path]) -> None:
        before = load_file(base / "model.safetensors")
        tuned = peft_model(base, trained["full"]).merge_and_unload()
        after = dict(tuned.named_parameters())
        assert all(not torch.equal(after[name], tensor.float()) for name, tensor in before.items())
        assert tuned.lm_head.weight is tuned.model.embed_tokens.weight

    def test_its_merged_folder_is_the_model_that_was_trained(
        self, base: Path, trained: dict[str, Path], tmp_path: Path
    ) -> None:
        assert merge.main(base, trained["full"], tmp_path / "merged") == 0
        whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
        assert torch.allclose(last_logits(whole), last_logits(peft_model(base, trained["full"])), atol=1e-5)
        assert "lm_head.weight" not in load_file(tmp_path / "merged" / "model.safetensors")


class TestOptions:
    def test_accumulated_batches_are_one_large_one(self, base: Path, tmp_path: Path) -> None:
        settings = config(steps=3, packing="padded")
        one, told = train(settings.replace(batch_size=6), rows(12), base, tmp_path / "one")
        two, also = train(settings.replace(batch_size=2, accumulation=3), rows(12), base, tmp_path / "two")
        for step, loss in told.numbers["loss"].items():
            assert also.numbers["loss"][step] == pytest.approx(loss, rel=1e-4)
        a, b = (load_file(each.adapter / "adapter_model.safetensors") for each in (one, two))
        assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)
        assert settings.replace(batch_size=2, accumulation=3).step_rows == 6

    def test_lora_plus_trains_b_at_a_multiple_of_the_rate(self, base: Path, tmp_path: Path) -> None:
        model = loaded(base, "lora").model
        made = optimizer_of(config(lora_plus=16.0), model, 1e-3)
        assert isinstance(made, MasterAdamW)
        rates = {group["lr"]: sum(p.numel() for p in group["params"]) for group in made.param_groups}
        b = sum(p.numel() for name, p in model.named_parameters() if "lora_B" in name)
        a = sum(p.numel() for name, p in model.named_parameters() if "lora_A" in name)
        assert rates == {1e-3: a, 16e-3: b}
        _, told = train(config(steps=4, lora_plus=16.0, warmup=0.0), rows(8), base, tmp_path)
        assert told.numbers["lr"][1] == pytest.approx(1e-2)

    def test_noise_changes_training_and_never_measuring(self, base: Path, tmp_path: Path) -> None:
        settings = config(steps=3, packing="padded")
        plain, _ = train(settings, rows(9, val=2), base, tmp_path / "plain")
        noisy, _ = train(settings.replace(neftune=5.0), rows(9, val=2), base, tmp_path / "noisy")
        name = "adapter_model.safetensors"
        assert digests(plain.adapter)[name] != digests(noisy.adapter)[name]
        _, told = train(settings.replace(neftune=5.0, lr=1e-12), rows(9, val=2), base, tmp_path / "still")
        _, asked = train(settings.replace(lr=1e-12), rows(9, val=2), base, tmp_path / "also")
        assert told.numbers["loss"][1] != asked.numbers["loss"][1]
        assert told.numbers["val_loss"][3] == pytest.approx(asked.numbers["val_loss"][3], rel=1e-6)

    @pytest.mark.parametrize("start", ["gaussian", "orthogonal"])
    def test_each_start_begins_as_the_base(self, base: Path, start: str) -> None:
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
        one, two = (loaded(base, "lora", lora_init=each).model.eval() for each in (start, "zero"))
        assert torch.allclose(last_logits(one), last_logits(plain), atol=1e-4)
        weights = [dict(each.named_parameters()) for each in (one, two)]
        assert any(not torch.equal(p, weights[1][name]) for name, p in weights[0].items())

    def test_whole_modules_are_trained_and_saved(self, base: Path, tmp_path: Path) -> None:
        done, _ = train(config(steps=4, modules_to_save=("norm", "embed_tokens")), rows(9), base, tmp_path)
        state, before = load_file(done.adapter / "adapter_model.safetensors"), load_file(base / "model.safetensors")
        for name in ("model.norm.weight", "model.embed_tokens.weight"):
            assert not torch.equal(state[f"base_model.model.{name}"], before[name])
        assert not is_plain(done.adapter) and not (done.adapter / "adapter.gguf").exists()

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the optimizer needs")
    def test_the_paged_optimizer_is_refused_without_a_gpu(self, base: Path) -> None:
        with pytest.raises(Unsupported, match="CUDA"):
            optimizer_of(config(optimizer="paged_adamw_8bit"), loaded(base, "lora").model, 1e-3)


class TestChat:
    @pytest.fixture
    async def backend(self) -> AsyncIterator[Transformers]:
        made = Transformers(TemplateCache(), Budget(cores=2), context=256)
        yield made
        await made.close()

    def lanes(self, base: Path, trained: dict[str, Path]) -> tuple[Resolved, dict[str, Resolved]]:
        plain = Resolved(str(base), "folder", "tiny", folder=base, tokenizer=base)
        tuned = {
            name: replace(plain, ref=f"run:{name}", kind="run", title=name, base=plain, adapter=folder)
            for name, folder in trained.items()
        }
        return plain, tuned

    async def test_every_method_answers_as_peft_does_beside_all_others(
        self, backend: Transformers, base: Path, trained: dict[str, Path]
    ) -> None:
        plain, tuned = self.lanes(base, trained)
        untouched = await backend.logits(plain, IDS, None)
        for _ in range(2):  # again when all are loaded
            for name, model in tuned.items():
                found = torch.tensor(await backend.logits(model, IDS, None))
                assert torch.allclose(found, last_logits(peft_model(base, trained[name])), atol=1e-4), name
                assert await backend.plain_logits(model, IDS) == untouched
                assert await backend.logits(plain, IDS, None) == untouched

    @pytest.mark.parametrize("method", NEW)
    async def test_an_answer_is_the_one_that_peft_generates(
        self, backend: Transformers, base: Path, trained: dict[str, Path], method: str
    ) -> None:
        plain, tuned = self.lanes(base, trained)
        asked = ({"role": "user", "content": "Who are you, number 3?"},)
        template = ChatTemplate.load(base)
        ids = template.encode(list(asked))
        wanted = peft_model(base, trained[method]).generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False, max_new_tokens=12, eos_token_id=sorted(template.stop_ids), pad_token_id=template.pad_id,
        )  # fmt: skip
        text = template.decode([t for t in wanted[0, len(ids) :].tolist() if t not in template.stop_ids])
        request = GenerationRequest(tuned[method], asked, Sampling(0.0, max_tokens=12))  # type: ignore[arg-type]
        said = [item async for item in backend.generate(request)]
        assert isinstance(said[-1], Finish) and "".join(map(str, said[:-1])) == text
        lanes = [lane_check.CheckedLane(model, backend, None) for model in (plain, tuned[method])]
        assert (await lane_check.check(lanes))["honest"]

    def test_kinds(self, trained: dict[str, Path]) -> None:
        kinds = {name: kind_of(folder) for name, folder in trained.items()}
        assert kinds == {"lora": "factors", "adalora": "adalora", "full": "whole"} | dict.fromkeys(VIRTUAL, "virtual")
