"""Two lanes through our chat server against other ways to run the same models, and the time to the first token.
Run it on an idle machine: `python benchmarks/compare.py [--json]`. Takes about five minutes on two cores."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.baselines import Baseline
from benchmarks.report import Row
from engine.core import process, sample_files
from engine.inference import access
from engine.inference.client import Client, Done, shutdown
from engine.inference.sampling import Sampling
from engine.models import prepare, refs
from engine.models.chat_template import ChatTemplate
from engine.models.default_model import gguf
from engine.training import run_control
from engine.training.recipes import config_for
from store.db import Store
from store.errors import WorkerError
from store.home import Home
from store.importing import import_files
from store.records import Message

BASE = "smollm2-135m"
RUNS = 3
ROUNDS = 5
TOKENS, FEW_TOKENS = 128, 32
"""An answer's length in the throughput rounds; transformers, which are slow, make the few."""
TURNS, CONVERSATIONS, TURN_TOKENS = 10, 3, 96
STORY = "Write a long story about a lighthouse keeper, his daughter and a storm. Use at least a thousand words."
ASKED = [
    f"Tell me about {thing} in a few sentences."
    for thing in ("the sea", "the sun", "the rain", "a lamp", "a boat", "a tree", "the moon", "a cat", "tea", "snow")
]
_stamps = count(1)


@dataclass
class Figures:
    """Everything that was measured, in the units of its name."""

    after_run_ms: list[float] = field(default_factory=list)
    swap_ms: list[float] = field(default_factory=list)
    load_ms: list[float] = field(default_factory=list)
    one_lane_mb: float = 0.0
    two_lanes_mb: float = 0.0
    first_ms: list[list[float]] = field(default_factory=list)  # for each conversation, by turn
    rates: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and Markdown")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as folder:
        home = Home(Path(folder) / "home").ensure()
        try:
            with Store.open(home) as store:
                found = asyncio.run(measure(store))
        finally:
            shutdown(home)
    report.show("benchmarks/compare.py", rows(found), remarks(), json_only=chosen.json)


async def measure(store: Store) -> Figures:
    """All measurements, one after the other, with one server."""
    found = Figures()
    say("Preparing the base and the chat server.")
    folder = prepare.prepare(store, BASE)
    client = await Client.connect(store.home)
    await client.load(BASE)
    await answer(client, BASE, "a", story(), TOKENS)
    found.one_lane_mb = server_mb(store.home)
    import_files(store, [sample_files.path("product.jsonl")], dataset="product")
    tuned: list[str] = []
    for n in range(RUNS):
        say(f"Run {n + 1} of {RUNS}: a few steps, then its first answer.")
        tuned.append(await fresh_run(store, client, found, n))
        if n == 0:
            await answer(client, tuned[0], "b", story(), TOKENS)
            found.two_lanes_mb = server_mb(store.home)
    say("Swapping adapters.")
    await swaps(store, client, found, tuned)
    say("Growing conversations.")
    for n in range(CONVERSATIONS):
        found.first_ms.append(await conversation(client, tuned[0], n))
    say("Throughput, in turns.")
    await throughput(store, client, found, tuned[0], folder)
    await client.close()
    return found


# ---------------------------------------------------------------- asking


async def answer(client: Client, model: str, lane: str, messages: list[Message], most: int) -> tuple[Done, float]:
    """One greedy answer, and the milliseconds until its first piece was here."""
    began, first = time.perf_counter(), 0.0
    async for piece in client.stream(model, messages, Sampling(max_tokens=most), lane=lane):
        first = first or time.perf_counter()
        if isinstance(piece, Done):
            if piece.error:
                raise RuntimeError(piece.error)
            return piece, (first - began) * 1e3
    raise RuntimeError("An answer had no end.")


def story() -> list[Message]:
    """A prompt that asks for more than will be made. Its beginning is new each time, so no cache can know it."""
    return [{"role": "system", "content": f"{next(_stamps)}: you write."}, {"role": "user", "content": STORY}]


# ---------------------------------------------------------------- a run, its adapter, memory


async def fresh_run(store: Store, client: Client, found: Figures, n: int) -> str:
    """Train a few steps and ask the run as soon as the store says that it succeeded."""
    config = config_for("identity", BASE).replace(method="lora", steps=2 + n, batch_size=4)
    run = run_control.submit(store, config, "product")
    run_control.start(store, run.name)
    run = await asyncio.to_thread(run_control.wait, store, run.name, poll_s=0.005)
    seen_ms = store.now() - (run.ended_at or 0)  # how long ago the worker wrote that it ended
    if run.state != "succeeded":
        raise WorkerError(run.error or f"The run was {run.state}.")
    ref = f"run:{run.name}"
    _, first_ms = await answer(client, ref, "b", story(), 1)
    found.after_run_ms.append(seen_ms + first_ms)
    return ref


async def swaps(store: Store, client: Client, found: Figures, tuned: list[str]) -> None:
    """What another adapter costs a lane: first words after a swap against those without, prompts of one length.

    Before a swap the adapter's file is touched, so that the server knows no such version and must read it.
    """
    stay: list[float] = []
    change: list[float] = []
    for n in range(3 * ROUNDS):
        ref = tuned[n % len(tuned)]
        touch(store, ref)
        change.append((await answer(client, ref, "b", story(), 1))[1])
        stay.append((await answer(client, ref, "b", story(), 1))[1])
        touch(store, ref)
        began = time.perf_counter()
        await client.load(ref)
        found.load_ms.append((time.perf_counter() - began) * 1e3)
    found.swap_ms = [after - before for after, before in zip(change, stay, strict=True)]


def touch(store: Store, ref: str) -> None:
    path = refs.resolve(store, ref).adapter_gguf
    if path is None:
        raise RuntimeError(f"{ref} has no GGUF adapter.")
    os.utime(path)


def server_mb(home: Home) -> float:
    """Memory of the server's process in MB: its proportional share where the system tells it, else all that is
    resident."""
    info = access.read_info(home)
    assert info is not None
    memory = psutil.Process(info.pid).memory_full_info()
    return float(getattr(memory, "pss", memory.rss)) / 1e6


# ---------------------------------------------------------------- turns


async def conversation(client: Client, tuned: str, n: int) -> list[float]:
    """Milliseconds to the first word in each turn when two lanes answer at once: the slower lane's."""
    sides: dict[str, tuple[str, list[Message]]] = {"a": (BASE, []), "b": (tuned, [])}
    for _, messages in sides.values():
        messages.append({"role": "system", "content": f"{n}: you help."})
    slower = []
    for asked in ASKED[:TURNS]:
        for _, messages in sides.values():
            messages.append({"role": "user", "content": asked})
        answers = await asyncio.gather(
            *(answer(client, model, lane, messages, TURN_TOKENS) for lane, (model, messages) in sides.items())
        )
        for (_, messages), (done, _) in zip(sides.values(), answers, strict=True):
            messages.append({"role": "assistant", "content": done.text})
        slower.append(max(first for _, first in answers))
    return slower


# ---------------------------------------------------------------- throughput


async def throughput(store: Store, client: Client, found: Figures, tuned: str, folder: Path) -> None:
    """Tokens a second, prompt reading included, of everybody in turn, round after round."""
    resolved, cores = refs.resolve(store, tuned), process.cores()
    assert resolved.adapter is not None and resolved.adapter_gguf is not None
    template = ChatTemplate.load(folder)
    llama = Baseline("llama", gguf(), resolved.adapter_gguf, cores)
    torch = Baseline("transformers", folder, resolved.adapter, cores)

    def ids() -> list[int]:
        return template.encode(story())

    async def ours(*lanes: tuple[str, str]) -> float:
        messages = story()
        began = time.perf_counter()
        answers = await asyncio.gather(*(answer(client, model, lane, messages, TOKENS) for model, lane in lanes))
        return sum(done.tokens for done, _ in answers) / (time.perf_counter() - began)

    async def theirs(baseline: Baseline, names: list[str], most: int) -> float:
        return await asyncio.to_thread(baseline.rate, names, ids(), most)

    contenders = {
        "ours, two lanes": lambda: ours((BASE, "a"), (tuned, "b")),
        "ours, base lane alone": lambda: ours((BASE, "a")),
        "Llama, all cores": lambda: theirs(llama, ["wide"], TOKENS),
        "Llama, half the cores": lambda: theirs(llama, ["base"], TOKENS),
        "Llama twice": lambda: theirs(llama, ["base", "tuned"], TOKENS),
        "transformers twice": lambda: theirs(torch, ["base", "tuned"], FEW_TOKENS),
    }
    try:
        names = list(contenders)
        for n in range(ROUNDS + 1):
            for name in names[n % len(names) :] + names[: n % len(names)]:
                rate = await contenders[name]()
                if n:  # the first round only warms up
                    found.rates.setdefault(name, []).append(rate)
    finally:
        llama.close()
        torch.close()


# ---------------------------------------------------------------- reporting


def rows(found: Figures) -> list[Row]:
    """The figures beside their targets: medians, with what lies around them."""
    rate = {name: median(values) for name, values in found.rates.items()}
    single = max(("Llama, all cores", "Llama, half the cores"), key=rate.__getitem__)
    by_turn = [median(turn) for turn in zip(*found.first_ms, strict=True)]
    return [
        Row("two lanes against the best single `Llama`", 100 * rate["ours, two lanes"] / rate[single], "%", (">=", 95),
            f"the best single one: {single}"),
        *(Row(f"tokens/s: {name}", rate[name], "tok/s", None, spread(found.rates[name])) for name in found.rates),
        Row(f"first token, turn {TURNS} / turn 1", by_turn[-1] / by_turn[0], "times", ("<=", 1.5),
            f"{by_turn[0]:.0f} ms, then {by_turn[-1]:.0f} ms; slowest turn {max(by_turn):.0f} ms"),
        Row("end of a run to its first token", max(found.after_run_ms) / 1e3, "s", ("<", 1),
            f"the slowest of {RUNS}: " + ", ".join(f"{ms:.0f} ms" for ms in found.after_run_ms)),
        Row("switch a lane to another adapter", median(found.swap_ms), "ms", ("<", 100),
            f"{spread(found.swap_ms)}; loading alone {median(found.load_ms):.0f} ms"),
        Row("memory of two lanes / one", found.two_lanes_mb / found.one_lane_mb, "times", ("<=", 1.5),
            f"{found.one_lane_mb:.0f} MB, then {found.two_lanes_mb:.0f} MB"),
    ]  # fmt: skip


def remarks() -> list[str]:
    """How the figures were taken."""
    return [
        f"The embedded default model and adapters of {RUNS} real runs of two to {RUNS + 1} steps (rank 16, all linear "
        f"layers). Greedy answers of {TOKENS} tokens (transformers: {FEW_TOKENS}) to a prompt that no cache knows, "
        f"prompt reading included; {ROUNDS} rounds in which all take turns; medians, in brackets the range. "
        f"Ours goes through the chat server's HTTP stream, the others are called directly in a process of their own. "
        f"Turns: {CONVERSATIONS} conversations in two lanes at once, answers up to {TURN_TOKENS} tokens; the slower "
        f"lane counts. A swap: first token with an adapter file that the server has not read, less the same without a "
        f"change. Memory: the server's proportional set size."
    ]


def spread(values: list[float]) -> str:
    """The range."""
    return f"({min(values):.0f} to {max(values):.0f})"


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
