"""The transformers + PEFT backend on a tiny random model: both sides in one batch say what each says alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.inference.backends import transformers as backend_module
from engine.inference.backends.transformers import Batch, Transformers, choose
from engine.inference.records import Finish, GenerationRequest
from engine.inference.sampling import Sampling
from engine.inference.server import lane_check
from engine.inference.template_cache import TemplateCache
from engine.inference.threads import Budget
from engine.models.refs import Resolved
from store.errors import BadInput, Unsupported
from store.records import Message
from tests.archs import add_lora, make

HELLO: tuple[Message, ...] = ({"role": "user", "content": "Who made you?"},)
OTHER: tuple[Message, ...] = ({"role": "user", "content": "The river rises in the mountains and flows. Where?"},)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("smollm", tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_lora(folder, tmp_path_factory.mktemp("adapter") / "lora")


@pytest.fixture(scope="module")
def dora(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_lora(folder, tmp_path_factory.mktemp("adapter") / "dora", use_dora=True)


@pytest.fixture
def base(folder: Path) -> Resolved:
    return Resolved(str(folder), "folder", "tiny", folder=folder, tokenizer=folder)


@pytest.fixture
def tuned(base: Resolved, adapter: Path) -> Resolved:
    return replace(base, ref="run:x", kind="run", base=base, adapter=adapter)


@pytest.fixture
async def backend() -> AsyncIterator[Transformers]:
    made = Transformers(TemplateCache(), Budget(cores=2), context=256)
    yield made
    await made.close()


async def ask(
    backend: Transformers, model: Resolved, messages: tuple[Message, ...], sampling: Sampling
) -> tuple[str, Finish]:
    items = [item async for item in backend.generate(GenerationRequest(model, messages, sampling))]
    assert isinstance(items[-1], Finish)
    return "".join(items[:-1]), items[-1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_mixed_batch_says_what_each_row_says_alone(
    backend: Transformers, base: Resolved, tuned: Resolved, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "JOIN_S", 0.3)
    rows = [(base, HELLO, 20), (tuned, HELLO, 20), (tuned, OTHER, 8), (base, OTHER, 31)]
    jobs = [(model, messages, Sampling(temperature, seed=5, max_tokens=n)) for model, messages, n in rows]
    alone = [await ask(backend, *job) for job in jobs]
    batches: list[int] = []
    keep = Batch.__init__
    monkeypatch.setattr(
        Batch, "__init__", lambda self, model, rows: (batches.append(len(rows)), keep(self, model, rows))[1]
    )
    together = await asyncio.gather(*(ask(backend, *job) for job in jobs))
    assert batches == [4], "one batch for all"
    assert [text for text, _ in together] == [text for text, _ in alone]
    assert [finish.tokens for _, finish in together] == [finish.tokens for _, finish in alone]
    assert alone[0][0] != alone[1][0]


async def test_an_adapter_that_cannot_be_mixed_gets_a_batch_of_its_own(
    backend: Transformers, base: Resolved, tuned: Resolved, dora: Path
) -> None:
    models, sampling = [base, replace(tuned, adapter=dora), tuned], Sampling(1.0, seed=1, max_tokens=15)
    alone = [(await ask(backend, model, HELLO, sampling))[0] for model in models]
    together = await asyncio.gather(*(ask(backend, model, HELLO, sampling) for model in models))
    assert [text for text, _ in together] == alone
    assert len(set(alone)) == 3


async def test_it_says_what_generate_says(backend: Transformers, base: Resolved, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    text, finish = await ask(backend, base, HELLO, Sampling(max_tokens=25))
    prompt = await backend.prompt(base, HELLO)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([prompt.ids])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=25, do_sample=False, pad_token_id=0)
    made = out[0, len(prompt.ids) :].tolist()
    ended = [n for n, token in enumerate(made) if token in prompt.stop_ids]
    assert finish.tokens == (ended[0] if ended else 25)
    template = TemplateCache().of(folder)
    assert text == template.decode(made[: finish.tokens], special=False)


async def test_a_late_row_does_not_wait_for_an_early_long_one(
    backend: Transformers, base: Resolved, tuned: Resolved
) -> None:
    ends: list[str] = []

    async def one(name: str, model: Resolved, tokens: int, pause: float) -> None:
        await asyncio.sleep(pause)
        await ask(backend, model, HELLO, Sampling(temperature=2.0, max_tokens=tokens))
        ends.append(name)

    await backend.load(tuned)
    await asyncio.gather(one("long", base, 150, 0), one("short", tuned, 3, 0.1))
    assert ends == ["short", "long"]


async def test_closing_the_answer_ends_the_row(backend: Transformers, base: Resolved) -> None:
    async with aclosing(
        backend.generate(GenerationRequest(base, HELLO, Sampling(temperature=1.0, max_tokens=200)))
    ) as items:
        async for _ in items:
            break
    loaded = await backend._loaded(base)
    assert await loaded.call(lambda: True)
    await asyncio.sleep(0.2)
    assert loaded.users == 0 and backend._budget.active == 0
    assert loaded._work.empty()


async def test_lane_check_of_the_mixed_batch(backend: Transformers, base: Resolved, tuned: Resolved) -> None:
    await backend.load(tuned)
    report = await lane_check.check(
        [lane_check.CheckedLane(base, backend, None), lane_check.CheckedLane(tuned, backend, None)]
    )
    assert report["honest"] and report["same_tokens"] and report["same_template"]
    one, two = report["lanes"]
    assert one["plain_max_diff"] <= lane_check.TOLERANCE < two["plain_max_diff"]


async def test_limits_and_stops(backend: Transformers, base: Resolved) -> None:
    _, finish = await ask(backend, base, HELLO, Sampling(temperature=1.0, seed=2, max_tokens=100_000))
    assert finish.context_used <= 256
    whole, _ = await ask(backend, base, HELLO, Sampling(max_tokens=20))
    stop = whole[4:6]
    text, finish = await ask(backend, base, HELLO, Sampling(max_tokens=20, stop=(stop,)))
    assert text == whole[: whole.index(stop)] and finish.stop == "end"
    with pytest.raises(BadInput, match="too long"):
        await ask(backend, base, ({"role": "user", "content": "1 " * 2000},), Sampling())


async def test_a_broken_folder_is_refused_and_idle_models_are_unloaded(
    backend: Transformers, base: Resolved, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(Unsupported, match="cannot load"):
        await backend.load(replace(base, folder=tmp_path))
    before = (await ask(backend, base, HELLO, Sampling(max_tokens=5)))[0]
    await backend.unload_idle(0, [base])
    assert backend._models
    await asyncio.sleep(0.01)
    await backend.unload_idle(0, [])
    assert not backend._models
    assert (await ask(backend, base, HELLO, Sampling(max_tokens=5)))[0] == before


def draw(logits: list[float], sampling: Sampling, made: tuple[int, ...] = (), n: int = 300) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    return {choose(torch.tensor(logits), sampling, made, generator) for _ in range(n)}


def test_each_filter_keeps_what_it_should() -> None:
    logits = [4.0, 3.0, 2.0, 0.0, -5.0]  # probabilities 0.66, 0.24, 0.09, 0.012, 0.0001
    assert draw(logits, Sampling()) == {0}
    assert draw(logits, Sampling(temperature=1.0, top_k=2)) == {0, 1}
    assert draw(logits, Sampling(temperature=1.0, top_p=0.6)) == {0}
    assert draw(logits, Sampling(temperature=1.0, top_p=0.7)) == {0, 1}
    assert draw(logits, Sampling(temperature=1.0, min_p=0.1)) == {0, 1, 2}
    assert draw(logits, Sampling(temperature=1.0, min_p=0.2)) == {0, 1}
    assert draw(logits, Sampling(repeat_penalty=2.0), made=(0,)) == {1}
    assert draw([-1.0, -1.5], Sampling(repeat_penalty=2.0), made=(0,)) == {1}
