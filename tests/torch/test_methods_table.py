"""Each method on the real default model, in very few steps: trains, resumes, chats, exports or refuses. What is found
fills a table, which is printed (-s) and has to be the one below."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.export import planning, targets
from engine.export.planning import Selection
from engine.export.request import Request, Target
from engine.inference.backends.transformers import Transformers
from engine.inference.template_cache import TemplateCache
from engine.inference.threads import Budget
from engine.models.refs import Resolved
from engine.training.config import TrainConfig
from engine.training.methods import METHODS
from store import datasets, pairs, runs
from store.db import Store
from store.errors import Unsupported
from store.records import PairDraft
from tests.tiny import row
from tests.torch.recording import digests, train

pytestmark = pytest.mark.slow
MERGES = "adapter merged gguf ollama"
EXPECTED = {
    "lora": ("yes", "bit for bit", "llama.cpp", f"{MERGES} gguf-adapter"),
    "qlora": ("yes", "bit for bit", "llama.cpp", f"{MERGES} gguf-adapter"),
    "adalora": ("yes", "bit for bit", "llama.cpp", f"{MERGES} gguf-adapter"),
    "full": ("yes", "bit for bit", "transformers", MERGES),
    "prefix": ("yes", "bit for bit", "transformers", "adapter"),
    "p-tuning": ("yes", "bit for bit", "transformers", "adapter"),
    "p-tuning-v2": ("yes", "bit for bit", "transformers", "adapter"),
    "prompt": ("yes", "bit for bit", "transformers", "adapter"),
}
"""Method -> trains, resumes, chats by, exports as; every other target is refused before anything is written."""
DATA = [row(n, f"Who are you, number {n}?", f"I am Ember, number {n}.") for n in range(4)]
IDS = list(range(1000, 1012))


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[str, ...]]]:
    found: dict[str, tuple[str, ...]] = {}
    yield found
    for name, cells in found.items():
        print(f"\n{name:12}", *(f"{cell:14}" for cell in cells), end="")


@pytest.mark.parametrize("method", METHODS)
async def test_a_method_does_what_the_table_says(
    method: str, table: dict[str, Any], default_base: Path, store: Store, tmp_path: Path
) -> None:
    settings = TrainConfig(
        model="smollm2-135m", method=method, steps=2, batch_size=2, max_length=64, save_every=1, rank=4, alpha=8.0,
        virtual_tokens=4, lr=1e-3 * METHODS[method].rate, warmup=0.0,
    )  # fmt: skip
    whole, told = train(settings, DATA, default_base, tmp_path / "whole")
    losses = told.numbers["loss"]
    trains = "yes" if whole.state == "succeeded" and len(losses) == 2 and all(losses.values()) else "no"
    begun = tmp_path / "whole" / "checkpoints" / "step-1"
    again, _ = train(settings, DATA, default_base, tmp_path / "again", resume_from=begun)
    resumes = "bit for bit" if digests(again.adapter) == digests(whole.adapter) else "otherwise"
    shutil.rmtree(tmp_path / "again")
    table[method] = (trains, resumes, await _answers(default_base, whole.adapter), _exports(store, settings, whole))
    assert table[method] == EXPECTED[method]


async def _answers(base: Path, adapter: Path) -> str:
    """Which backend answers for an adapter, when it is another model there than its base."""
    if (adapter / "adapter.gguf").is_file():
        return "llama.cpp"
    plain = Resolved("base", "folder", "base", folder=base, tokenizer=base)
    tuned = Resolved("run:x", "run", "x", base=plain, folder=base, adapter=adapter, tokenizer=adapter)
    backend = Transformers(TemplateCache(), Budget(), context=128)
    try:
        differ = await backend.logits(tuned, IDS, None) != await backend.plain_logits(tuned, IDS)
        return backend.name if differ else "no"
    finally:
        await backend.close()


def _exports(store: Store, settings: TrainConfig, outcome: Any) -> str:
    """The targets that are planned; every other one is refused in words."""
    datasets.create(store, "d")
    pairs.create_many(store, [PairDraft("Who are you?", "I am Ember.")], dataset="d")
    run = runs.create(
        store, name="x", base="smollm2-135m", snapshot=datasets.freeze(store, "d").hash, method=settings.method,
        config=settings.to_json(), config_hash=settings.hash(), seed=0,
    )  # fmt: skip
    model = Resolved("run:x", "run", "x", adapter=outcome.adapter)
    possible = []
    for name in sorted(targets.REGISTRY, key=[*MERGES.split(), "gguf-adapter"].index):
        request = Request("x", (Target(name, targets.get(name).default_quant),))
        try:
            planning.plan(store, request, Selection(run, None, "", model))
            possible.append(name)
        except Unsupported as error:
            assert f"cannot be written as {name}" in error.what and error.todo
    return " ".join(possible)
