"""The llama.cpp backend: shared weights, lanes, adapters, kept prefixes, cancelling; on a tiny random model, no
server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from engine.gguf import llama_library
from engine.gguf.adapter import convert
from engine.gguf.llama_library import LlamaModel
from engine.inference.backends import adapters
from engine.inference.backends.gguf_template import GgufTemplate
from engine.inference.backends.llama_context import Aborted, Context
from engine.inference.backends.llama_cpp import LlamaCpp
from engine.inference.records import Finish, GenerationRequest
from engine.inference.sampling import Sampling
from engine.inference.server import lane_check
from engine.inference.template_cache import TemplateCache
from engine.inference.threads import Budget
from engine.models.refs import Resolved
from store.errors import BadInput, ServerError, Unsupported
from store.home import Home
from store.records import Message
from tests.engine.tiny_gguf import CONTEXT, Lora, write_adapter, write_config, write_gguf

HELLO: tuple[Message, ...] = ({"role": "user", "content": "Hello there"},)
LONG = Sampling(max_tokens=40)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    write_adapter(folder, Lora())
    convert(folder, write_config(folder / "base"), folder / "adapter.gguf")
    return folder


@pytest.fixture
def base(tiny: Path) -> Resolved:
    return Resolved(str(tiny), "gguf", "tiny", gguf=tiny)


@pytest.fixture
def tuned(base: Resolved, adapter: Path) -> Resolved:
    return replace(base, ref="run:x", kind="run", base=base, adapter=adapter, adapter_gguf=adapter / "adapter.gguf")


@pytest.fixture
async def backend(home: Home) -> AsyncIterator[LlamaCpp]:
    made = LlamaCpp(home, TemplateCache(), Budget(cores=2), workers=4, context=CONTEXT)
    yield made
    await made.close()


async def ask(
    backend: LlamaCpp, model: Resolved, messages: tuple[Message, ...] = HELLO, sampling: Sampling = LONG,
    lane: str | None = None,
) -> tuple[str, Finish]:  # fmt: skip
    items = [item async for item in backend.generate(GenerationRequest(model, messages, sampling, lane))]
    assert isinstance(items[-1], Finish)
    return "".join(items[:-1]), items[-1]


def turn(history: tuple[Message, ...], answer: str, question: str) -> tuple[Message, ...]:
    return (*history, {"role": "assistant", "content": answer}, {"role": "user", "content": question})


# ---------------------------------------------------------------- what is said


async def test_the_same_seed_says_the_same_and_another_one_something_else(backend: LlamaCpp, base: Resolved) -> None:
    hot = Sampling(temperature=1.5, top_p=0.95, top_k=50, min_p=0.01, repeat_penalty=1.2, seed=3, max_tokens=30)
    texts = [(await ask(backend, base, sampling=hot))[0] for _ in range(3)]
    assert len(set(texts)) == 1
    assert (await ask(backend, base, sampling=replace(hot, seed=4)))[0] != texts[0]


def test_the_number_of_threads_does_not_change_a_bit(tiny: Path) -> None:
    """Lanes come and go, and with them the threads of each: the text of a seed may not depend on that."""
    weights, seen = LlamaModel(tiny), []
    for threads in (1, 2, 3):
        context = Context(weights, CONTEXT, threads)
        context.prefill([n % 250 for n in range(400)])  # long caches are what flash attention splits by thread
        context.decode([7])
        seen.append(context.logits())
    weights.free()
    assert seen[0] == seen[1] == seen[2]


async def test_the_figures_of_an_answer_are_right(backend: LlamaCpp, base: Resolved) -> None:
    text, finish = await ask(backend, base, sampling=Sampling(max_tokens=7))
    assert (finish.stop, finish.tokens) == ("length", 7)
    prompt = (await backend.prompt(base, HELLO)).ids
    assert finish.prompt_tokens == len(prompt)
    assert finish.context_used == len(prompt) + 7
    assert finish.context_size == CONTEXT
    assert finish.ttft_ms is not None and finish.ttft_ms > 0
    assert finish.tokens_per_s is not None and finish.tokens_per_s > 0
    assert text


async def test_a_loop_ends_at_the_limit_and_at_the_context_s_end(backend: LlamaCpp, base: Resolved) -> None:
    _, finish = await ask(backend, base, sampling=Sampling(max_tokens=100_000))
    assert finish.stop == "length"
    assert finish.context_used == CONTEXT


async def test_a_stop_text_ends_the_answer_before_it(backend: LlamaCpp, base: Resolved) -> None:
    whole, _ = await ask(backend, base)
    stop = whole[10:13]
    text, finish = await ask(backend, base, sampling=replace(LONG, stop=(stop,)))
    assert text == whole[: whole.index(stop)]
    assert finish.stop == "end"
    assert finish.tokens < 40


async def test_an_end_of_turn_token_ends_the_answer(backend: LlamaCpp, base: Resolved, tiny: Path) -> None:
    """The tiny model never ends by itself: a bias towards the end token stands in for one that does."""
    async with backend._using(base) as loaded:
        ends = loaded.weights.ends
        loaded.weights.ends = lambda token: True  # type: ignore[method-assign]
        text, finish = await ask(backend, base)
        loaded.weights.ends = ends  # type: ignore[method-assign]
    assert (text, finish.stop, finish.tokens) == ("", "end", 0)


# ---------------------------------------------------------------- prompts


async def test_old_turns_are_dropped_and_told(backend: LlamaCpp, base: Resolved) -> None:
    talk: tuple[Message, ...] = ({"role": "system", "content": "Be brief."}, *HELLO)
    for n in range(12):
        talk = turn(talk, f"answer {n} " * 4, f"question {n}")
    text, finish = await ask(backend, base, talk, Sampling(max_tokens=10))
    assert finish.dropped_turns > 0
    assert finish.prompt_tokens <= CONTEXT - 10
    kept = (talk[0], *talk[1 + finish.dropped_turns :])
    assert (await ask(backend, base, kept, Sampling(max_tokens=10)))[0] == text


async def test_a_question_longer_than_the_context_is_refused(backend: LlamaCpp, base: Resolved) -> None:
    with pytest.raises(BadInput, match="too long"):
        await ask(backend, base, ({"role": "user", "content": "x" * 5000},))
    assert (await ask(backend, base))[1].tokens == 40, "the next answer is not affected"


def test_a_file_without_a_template_is_refused(tmp_path: Path) -> None:
    weights = LlamaModel(write_gguf(tmp_path / "bare.gguf", template=None))
    with pytest.raises(Unsupported, match="no chat template"):
        GgufTemplate(weights)
    weights.free()


def test_control_tokens_in_rendered_text_count_as_such(tiny: Path) -> None:
    weights = LlamaModel(tiny)
    assert GgufTemplate(weights).encode([{"role": "user", "content": "hi"}])[:1] == [257]
    assert weights.tokenize("<|im_end|>") == [258]
    assert weights.piece(258) == b"" and weights.piece(258, special=True) == b"<|im_end|>"
    weights.free()


# ---------------------------------------------------------------- lanes and adapters


async def test_base_and_tuned_share_weights_and_never_mix(backend: LlamaCpp, base: Resolved, tuned: Resolved) -> None:
    alone = [(await ask(backend, model))[0] for model in (base, tuned)]
    assert alone[0] != alone[1]
    together = await asyncio.gather(ask(backend, base, lane="a"), ask(backend, tuned, lane="b"))
    assert [text for text, _ in together] == alone
    swapped = await asyncio.gather(ask(backend, tuned, lane="a"), ask(backend, base, lane="b"))
    assert [text for text, _ in swapped] == alone[::-1]
    assert len(backend._models) == 1


async def test_a_lane_reuses_its_prefix(backend: LlamaCpp, base: Resolved, monkeypatch: pytest.MonkeyPatch) -> None:
    reused: list[int] = []
    prefill = Context.prefill
    monkeypatch.setattr(Context, "prefill", lambda self, ids: reused.append(prefill(self, ids)))
    talk = HELLO
    for n in range(4):
        text, _ = await ask(backend, base, talk, Sampling(max_tokens=5), lane="a")
        talk = turn(talk, text, f"and {n}?")
    assert reused[0] == 0
    assert reused[1:] == sorted(reused[1:]) and reused[1] > 10
    await ask(backend, base, talk, Sampling(max_tokens=5))
    assert reused[-1] == 0, "without a lane nothing is reused"


async def test_the_same_turn_says_the_same_again_on_a_lane_with_history(backend: LlamaCpp, base: Resolved) -> None:
    hot = Sampling(temperature=1.2, seed=5, max_tokens=12)
    talk, texts = HELLO, []
    for n in range(3):
        texts.append((await ask(backend, base, talk, hot, lane="a"))[0])
        assert (await ask(backend, base, talk, hot, lane="a"))[0] == texts[-1], "regenerated with the same seed"
        talk = turn(talk, texts[-1], f"and {n}?")
    replayed, talk = [], HELLO
    for n in range(3):
        replayed.append((await ask(backend, base, talk, hot, lane="b"))[0])
        talk = turn(talk, replayed[-1], f"and {n}?")
    assert replayed == texts, "another lane with the same history"


async def test_a_new_version_of_an_adapter_file_is_used_at_once(
    backend: LlamaCpp, tuned: Resolved, adapter: Path, tmp_path: Path
) -> None:
    """What following a run's checkpoints needs; and what no longer serves is freed."""
    base_folder = write_config(tmp_path / "base")
    texts = []
    for seed in range(12):
        folder = write_adapter(tmp_path / f"step{seed}", Lora(seed=seed))
        file = convert(folder, base_folder, folder / "adapter.gguf")
        texts.append((await ask(backend, replace(tuned, adapter=folder, adapter_gguf=file), lane="b"))[0])
    assert len(set(texts)) == 12
    async with backend._using(tuned) as loaded:
        assert len(loaded.weights._adapters) <= 8


async def test_an_adapter_of_another_model_is_refused_and_the_lane_lives(
    backend: LlamaCpp, base: Resolved, tuned: Resolved, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF nonsense")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(Unsupported, match="cannot load this adapter"):
        await ask(backend, replace(tuned, adapter=tmp_path, adapter_gguf=bad), lane="a")
    assert (await ask(backend, base, lane="a"))[1].tokens == 40


async def test_a_broken_model_file_is_refused_with_a_reason(backend: LlamaCpp, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF\x03\x00\x00\x00 and then nothing of use")
    with pytest.raises(Unsupported, match="cannot load this model"):
        await ask(backend, Resolved(str(bad), "gguf", "bad", gguf=bad))


def test_an_adapter_without_a_file_is_converted_once_into_the_cache(
    home: Home, tuned: Resolved, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "checkpoint", Lora())
    model = replace(tuned, adapter=folder, adapter_gguf=None)
    assert adapters.must_convert(home, model)
    with pytest.raises(ServerError, match="not prepared"):
        adapters.gguf_adapter(home, model)
    model = replace(model, folder=write_config(tmp_path / "base"))
    made = adapters.gguf_adapter(home, model)
    assert made is not None and made.is_relative_to(home.cache) and not adapters.must_convert(home, model)
    stamp = made.stat().st_mtime_ns
    assert adapters.gguf_adapter(home, model) == made and made.stat().st_mtime_ns == stamp
    assert sorted(p.name for p in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    write_adapter(folder, Lora(seed=9))
    assert adapters.gguf_adapter(home, model) != made, "other weights, another file"


# ---------------------------------------------------------------- proof


async def test_lane_check_measures_what_each_lane_is(backend: LlamaCpp, base: Resolved, tuned: Resolved) -> None:
    report = await lane_check.check(
        [lane_check.CheckedLane(base, backend, "a"), lane_check.CheckedLane(tuned, backend, "b")]
    )
    one, two = report["lanes"]
    assert report["honest"] and report["same_tokens"] and report["same_template"]
    assert one["plain_max_diff"] == 0.0 and two["plain_max_diff"] > 0.1
    assert report["lanes_max_diff"] == two["plain_max_diff"]


async def test_an_adapter_that_leaks_into_the_base_lane_is_caught(
    backend: LlamaCpp, base: Resolved, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Context.use_adapter
    monkeypatch.setattr(
        Context, "use_adapter", lambda self, path: keep(self, adapter / "adapter.gguf") if self in leaking else None
    )
    leaking: set[Context] = set()
    async with backend._using(base) as loaded, loaded.lanes.use("a", CONTEXT) as context:
        leaking.add(context)
    report = await lane_check.check([lane_check.CheckedLane(base, backend, name) for name in "abc"])
    assert not report["honest"]
    assert [side["honest"] for side in report["lanes"]] == [False, True, True]


async def test_the_proof_leaves_a_lane_as_it_was(backend: LlamaCpp, base: Resolved) -> None:
    text, _ = await ask(backend, base, lane="a")
    talk = turn(HELLO, text, "more")
    undisturbed = (await ask(backend, base, talk, lane="a"))[0]
    await ask(backend, base, lane="b")
    await lane_check.check([lane_check.CheckedLane(base, backend, "b")])
    async with backend._using(base) as loaded, loaded.lanes.use("b", 1) as context:
        assert context.used > 40
    assert (await ask(backend, base, talk, lane="b"))[0] == undisturbed


# ---------------------------------------------------------------- cancelling and unloading


async def test_closing_the_answer_ends_the_work(backend: LlamaCpp, base: Resolved) -> None:
    async with aclosing(backend.generate(GenerationRequest(base, HELLO, Sampling(max_tokens=400), "a"))) as items:
        async for _ in items:
            break
    async with backend._using(base) as loaded:
        assert loaded.lanes.busy == 0
    assert backend._budget.active == 0
    again = await ask(backend, base, lane="a")
    assert again == (await ask(backend, base, lane="b"))[0:1] + again[1:]


async def test_two_hundred_random_requests_leave_nothing_running(
    backend: LlamaCpp, base: Resolved, tuned: Resolved
) -> None:
    import random

    dice = random.Random(1)

    async def one(n: int) -> None:
        model, lane = dice.choice([base, tuned]), dice.choice([None, "a", "b"])
        sampling = Sampling(temperature=1.0, seed=n, max_tokens=dice.randrange(1, 20))
        stop_after = dice.choice([0, 1, 3, 1000])
        async with aclosing(backend.generate(GenerationRequest(model, HELLO, sampling, lane))) as items:
            count = 0
            async for _ in items:
                count += 1
                if count > stop_after:
                    break

    tasks = [asyncio.create_task(one(n)) for n in range(200)]
    for task in tasks:
        if dice.random() < 0.2:
            await asyncio.sleep(0.001)
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [r for r in results if isinstance(r, Exception)]
    async with backend._using(base) as loaded:
        assert loaded.users == 1 and loaded.lanes.busy == 0
        assert len(loaded.weights.contexts) == len(loaded.lanes) <= 6
    assert backend._budget.active == 0
    assert (await ask(backend, base))[0] == (await ask(backend, base, lane="c"))[0]


def test_a_decode_can_be_aborted_from_another_thread(tiny: Path) -> None:
    weights = LlamaModel(tiny)
    context = Context(weights, CONTEXT, 1)
    context.arm()
    context.prefill([1, 2, 3])
    context.abort()
    with pytest.raises(Aborted):
        context.decode([4])
    assert context.used == 3
    context.arm()
    context.prefill([1, 2, 3, 4])
    want = context.logits()
    context.clear()
    context.prefill([1, 2, 3])
    context.decode([4])
    assert context.logits() == want, "an aborted decode leaves no trace"

    def abort_soon() -> None:
        time.sleep(0.05)
        context.abort()

    thread = threading.Thread(target=abort_soon)
    thread.start()
    with pytest.raises(Aborted):
        for _ in range(100_000):
            context.clear()
            context.prefill(list(range(200)))
    thread.join()
    weights.free()


async def test_idle_models_are_unloaded_but_not_pinned_or_used_ones(backend: LlamaCpp, base: Resolved) -> None:
    before = (await ask(backend, base))[0]
    await backend.unload_idle(60, [])
    assert backend._models
    await backend.unload_idle(0, [base])
    assert backend._models
    async with backend._using(base):
        await backend.unload_idle(0, [])
        assert backend._models
    await asyncio.sleep(0.01)
    await backend.unload_idle(0, [])
    assert not backend._models
    assert (await ask(backend, base))[0] == before


class TestAmx:
    INFO = "CPU : AVX2 = 1 | AMX_INT8 = {} | LLAMAFILE = 1 | "

    @pytest.mark.parametrize(("built", "extra"), [(1, False), (0, True)])
    def test_a_build_with_amx_loads_without_the_buffers_that_use_it(self, tiny, monkeypatch, built, extra):
        lib = llama_library.library()
        asked = []
        load = lib.llama_model_load_from_file
        monkeypatch.setattr(lib, "llama_print_system_info", lambda: self.INFO.format(built).encode())
        monkeypatch.setattr(
            lib, "llama_model_load_from_file", lambda path, p: asked.append(p.use_extra_bufts) or load(path, p)
        )
        LlamaModel(tiny)
        assert asked == [extra]

    @pytest.mark.parametrize("info", [INFO.format(0), "", "CPU : NEON = 1"])
    def test_other_builds_do_not_use_amx(self, info):
        assert not llama_library.uses_amx(info)
