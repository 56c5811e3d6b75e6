"""The transformers + PEFT backend on a tiny random model: both sides in one batch say what each says alone."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.inference.backends import transformers as backend_module
from engine.inference.backends.transformers import Batch, Transformers, choose
from engine.inference.records import Finish, GenerationRequest, TokenLogprob
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


# ---------------------------------------------------------------- what clients ask for


async def generate(backend: Transformers, model: Resolved, sampling: Sampling, text: str | None = None) -> list[object]:
    messages = HELLO if text is None else ()
    return [item async for item in backend.generate(GenerationRequest(model, messages, sampling, text=text))]


async def test_a_schema_and_a_token_that_is_not_there_are_refused_by_name(
    backend: Transformers, base: Resolved
) -> None:
    for sampling, where in (
        (Sampling(json_schema="{}"), "response_format"),
        (Sampling(logit_bias=((10**8, 1.0),)), "logit_bias"),
    ):
        with pytest.raises((BadInput, Unsupported)) as caught:
            await generate(backend, base, sampling)
        assert caught.value.where == where


async def test_log_probabilities_come_before_the_text_of_their_tokens(backend: Transformers, base: Resolved) -> None:
    items = await generate(backend, base, Sampling(max_tokens=6, top_logprobs=3))
    found = [item for item in items if isinstance(item, TokenLogprob)]
    assert len(found) == 6 and isinstance(items[0], TokenLogprob)
    for one in found:
        assert one.logprob <= 0 and [value for _, value in one.top] == sorted((v for _, v in one.top), reverse=True)
        assert one.top[0][1] == pytest.approx(one.logprob), "greedy takes the likeliest"
    plain = await generate(backend, base, Sampling(max_tokens=6))
    assert [i for i in items if isinstance(i, str)] == [i for i in plain if isinstance(i, str)]


def test_biases_and_penalties_move_the_choice() -> None:
    logits, generator = torch.tensor([1.0, 2.0, 3.0, 2.5]), torch.Generator()
    assert choose(logits, Sampling(), [], generator) == 2
    assert choose(logits, Sampling(logit_bias=((2, -100.0), (0, 5.0))), [], generator) == 0
    assert choose(logits, Sampling(presence_penalty=0.6), [2], generator) == 3
    assert choose(logits, Sampling(presence_penalty=0.4), [2, 2, 2], generator) == 2, "however often"
    assert choose(logits, Sampling(frequency_penalty=0.2), [2, 2, 2], generator) == 3
    assert choose(logits, Sampling(frequency_penalty=0.6), [2] + [1] * 100, generator) == 3
    assert logits.tolist() == [1.0, 2.0, 3.0, 2.5], "the model's own logits stay as they are"


async def test_a_text_is_continued_without_a_template(backend: Transformers, base: Resolved, folder: Path) -> None:
    items = await generate(backend, base, Sampling(max_tokens=5), "The river rises")
    finish = items[-1]
    assert isinstance(finish, Finish) and finish.tokens == 5
    ids = TemplateCache().of(folder).tokenizer.encode("The river rises").ids
    assert finish.prompt_tokens == len(ids)
    with pytest.raises(BadInput, match="tokens"):
        await generate(backend, base, Sampling(max_tokens=5), "word " * 500)


# ---------------------------------------------------------------- failures


def changed(folder: Path, to: Path, rename: Callable[[str], str | None]) -> Resolved:
    """A copy of a model whose tensors got other names; None leaves one out."""
    shutil.copytree(folder, to)
    file = to / "model.safetensors"
    tensors = {rename(name): tensor for name, tensor in load_file(file).items()}
    save_file({name: tensor for name, tensor in tensors.items() if name}, file, {"format": "pt"})
    return Resolved(str(to), "folder", "changed", folder=to, tokenizer=to)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: None if "layers.1.mlp" in name else name,
        lambda name: f"_orig_mod.{name}",
        lambda name: name.replace("q_proj", "query"),
    ],
)
async def test_weights_that_the_files_lack_never_become_random(
    backend: Transformers, folder: Path, tmp_path: Path, rename: Callable[[str], str | None]
) -> None:
    with pytest.raises(Unsupported, match="not in its files, first "):
        await backend.load(changed(folder, tmp_path / "changed", rename))


async def test_a_layer_more_than_the_files_hold_is_refused(backend: Transformers, folder: Path, tmp_path: Path) -> None:
    model = changed(folder, tmp_path / "changed", lambda name: name)
    config = tmp_path / "changed" / "config.json"
    read = json.loads(config.read_text())
    config.write_text(json.dumps({**read, "num_hidden_layers": read["num_hidden_layers"] + 1}))
    with pytest.raises(Unsupported, match="not in its files"):
        await backend.load(model)


async def test_a_package_that_is_missing_is_named(
    backend: Transformers, base: Resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, what in (
        (ModuleNotFoundError("No module named 'timm'", name="timm"), "package timm"),
        (ImportError("This model requires the tiktoken library."), "tiktoken"),
    ):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(backend_module.AutoModelForCausalLM, "from_pretrained", fail)
        with pytest.raises(Unsupported, match=what) as caught:
            await backend.load(base)
        assert "install" in (caught.value.todo or "").casefold()
