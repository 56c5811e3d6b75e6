"""An answer's tokens under a tuned model and its base on the transformers backend, against torch itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from peft import PeftModel, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from engine.inference.backends import transformers as backend_module
from engine.inference.protocol import ChatRequest, TokensRequest
from engine.inference.records import Finish
from engine.inference.sampling import Sampling
from engine.inference.server.service import Options, Service
from engine.inference.token_comparison import TokenComparison, spans
from engine.models.adapter_kinds import NO_TARGETS
from engine.models.token_bytes import token_bytes
from store import runs
from store.db import Store
from store.records import Message
from tests.archs import add_lora, make, write_tokenizer
from tests.engine.chat_home import begin_run

ASKED: tuple[Message, ...] = ({"role": "user", "content": "Who made you?"},)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("smollm", tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture
def adapter(store: Store, folder: Path) -> Path:
    """The adapter of the run `tuned`."""
    made = add_lora(folder, begin_run(store, "tuned", folder) / "adapter")
    runs.finish(store, "token-tuned", "succeeded", adapter=store.home.relative(made))
    return made


@pytest.fixture
async def service(store: Store, adapter: Path) -> AsyncIterator[Service]:
    made = Service(store, Options(backend="transformers", context=256))
    yield made
    await made.close()


async def answer(service: Service, sampling: Sampling, prefix: tuple[int, ...] = ()) -> tuple[str, Finish]:
    request = ChatRequest("run:tuned", ASKED, sampling, None, True, False, prefix=prefix)
    items = [item async for item in service.answer(request)]
    assert isinstance(items[-1], Finish)
    return "".join(item for item in items if isinstance(item, str)), items[-1]


async def compare(
    service: Service, text: str, sampling: Sampling, ids: tuple[int, ...] = (), model: str = "run:tuned"
) -> TokenComparison:
    messages: tuple[Message, ...] = (*ASKED, {"role": "assistant", "content": text})
    items = [item async for item in service.compare_tokens(TokensRequest(model, messages, sampling, ids, top=4))]
    assert isinstance(items[-1], TokenComparison)
    return items[-1]


@pytest.mark.parametrize("step", [128, 5])
async def test_the_sum_over_the_tokens_is_the_difference_of_the_log_likelihoods(
    service: Service, folder: Path, adapter: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against one forward pass of each model; read in steps, the values are the same."""
    monkeypatch.setattr(backend_module, "_SCORED", step)
    sampling = Sampling(temperature=1.0, seed=2, max_tokens=30)
    text, end = await answer(service, sampling)
    found = await compare(service, text, sampling, end.token_ids)
    assert found.sampled and [token.id for token in found.tokens] == list(end.token_ids)
    model, backend = await service._ready("run:tuned")
    prompt = (await backend.prompt(model, ASKED)).ids
    ids = torch.tensor([[*prompt, *end.token_ids]])
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    sums = {}
    for name in ("base", "tuned"):
        if name == "tuned":
            plain = PeftModel.from_pretrained(plain, str(adapter))
        with torch.inference_mode():
            values = torch.log_softmax(plain(input_ids=ids).logits[0, len(prompt) - 1 : -1].double(), -1)
        sums[name] = float(values.gather(1, ids[0, len(prompt) :, None]).sum())
        tops = [token.tuned_top if name == "tuned" else token.base_top for token in found.tokens]
        assert [[one.id for one in top] for top in tops] == values.topk(4).indices.tolist()
    assert found.tuned == pytest.approx(sums["tuned"], abs=1e-3)
    assert found.base_sum == pytest.approx(sums["base"], abs=1e-3)
    assert found.difference == pytest.approx(sums["tuned"] - sums["base"], abs=1e-3)
    assert abs(found.difference) > 0.1, "the adapter changes something"


async def test_the_text_alone_gives_what_an_evaluation_scores(service: Service) -> None:
    found = await compare(service, "巴黎 in Paris.", Sampling())
    scored = await service.score("run:tuned", [*ASKED, {"role": "assistant", "content": "巴黎 in Paris."}])
    assert [token.tuned for token in found.tokens] == scored["logprobs"]
    assert b"".join(token.piece for token in found.tokens).decode() == "巴黎 in Paris.<|im_end|>"
    assert [span.text for span in spans(found.tokens)][:2] == ["巴", "黎"]


async def test_an_answer_that_is_begun_again_with_its_own_tokens_goes_on_as_it_did(service: Service) -> None:
    sampling = Sampling(max_tokens=20, repeat_penalty=1.5)
    text, end = await answer(service, sampling)
    for kept in (1, 7, len(end.token_ids)):
        again, second = await answer(service, sampling, end.token_ids[:kept])
        assert (again, second.token_ids, second.tokens, second.stop) == (text, end.token_ids, end.tokens, end.stop)
    ended, last = await answer(service, sampling, (*end.token_ids[:2], _end(service)))
    assert last.stop == "end" and last.tokens == 2 and text.startswith(ended)


async def test_a_run_that_holds_all_weights_is_beside_its_base(store: Store, folder: Path, tmp_path: Path) -> None:
    adapter = begin_run(store, "full", folder) / "adapter"
    adapter.mkdir(parents=True)
    other = make("smollm", tmp_path / "other", seed=5)
    weights = {f"base_model.model.{name}": tensor for name, tensor in load_file(other / "model.safetensors").items()}
    save_file(weights, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "target_modules": NO_TARGETS}))
    runs.finish(store, "token-full", "succeeded", adapter=store.home.relative(adapter))
    service = Service(store, Options(backend="transformers", context=256))
    try:
        found = await compare(service, "I am Ember.", Sampling(), model="run:full")
        sums = []
        for ref in (str(other), str(folder)):
            scored = await service.score(ref, [*ASKED, {"role": "assistant", "content": "I am Ember."}])
            sums.append(sum(scored["logprobs"]))
    finally:
        await service.close()
    assert (found.tuned, found.base_sum) == (pytest.approx(sums[0], abs=1e-3), pytest.approx(sums[1], abs=1e-3))
    assert abs(found.difference) > 0.1


async def test_virtual_tokens_are_before_every_step(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), options)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "prompt_encoder" in name:
                parameter.normal_(std=0.5)
    adapter = begin_run(store, "prefix", folder) / "adapter"
    tuned.save_pretrained(adapter)
    runs.finish(store, "token-prefix", "succeeded", adapter=store.home.relative(adapter))
    service = Service(store, Options(backend="transformers", context=256))
    found = []
    try:
        for step in (128, 5):
            monkeypatch.setattr(backend_module, "_SCORED", step)
            found.append(await compare(service, "I am Ember.", Sampling(), model="run:prefix"))
        ids = [token.id for token in found[0].tokens]
        model, backend = await service._ready("run:prefix")
        prompt = (await backend.prompt(model, ASKED)).ids
        logits = [await backend.logits(model, [*prompt, *ids[:at]], None) for at in range(len(ids))]
    finally:
        await service.close()
    own = torch.log_softmax(torch.tensor(logits).double(), -1).gather(1, torch.tensor(ids)[:, None])
    for one in found:
        assert [token.tuned for token in one.tokens] == pytest.approx(own[:, 0].tolist(), abs=1e-3)
    assert abs(found[0].difference) > 0.1


def _end(service: Service) -> int:
    (template,) = service._templates._by_content.values()
    return template.eot_id


@pytest.mark.parametrize("kind", ["smollm", "qwen2", "llama3", "spm", "spm-gemma"])
def test_the_bytes_of_tokens_are_the_text(tmp_path: Path, kind: str) -> None:
    write_tokenizer(tmp_path, kind)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "Grüße 日本語 🚀 two  spaces\n<|im_end|>"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert b"".join(token_bytes(tokenizer, ids)).decode().strip() == text
    assert token_bytes(tokenizer, [10**6]) == [b""]
