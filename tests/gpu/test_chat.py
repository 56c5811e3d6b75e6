"""The transformers backend on CUDA: the CPU's answers, and a mixed batch in which each row says what it says alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from engine.inference.backends.transformers import Transformers
from engine.inference.records import GenerationRequest
from engine.inference.sampling import Sampling
from engine.inference.template_cache import TemplateCache
from engine.inference.threads import Budget
from engine.models.refs import Resolved
from store.records import Message
from tests.archs import add_lora

HELLO: tuple[Message, ...] = ({"role": "user", "content": "Who are you?"},)
OTHER: tuple[Message, ...] = ({"role": "user", "content": "The capital of France is what, and why is it there?"},)


async def ask(backend: Transformers, model: Resolved, messages: tuple[Message, ...]) -> str:
    asked = GenerationRequest(model, messages, Sampling(temperature=0.0, max_tokens=20))
    return "".join([item async for item in backend.generate(asked) if isinstance(item, str)])


async def test_answers_are_the_cpus_alone_and_in_a_batch(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    plain = Resolved(str(base), "folder", "tiny", folder=base, tokenizer=base)
    tuned = replace(plain, ref="run:x", kind="run", base=plain, adapter=add_lora(base, tmp_path / "lora"))
    asked = [(plain, HELLO), (tuned, HELLO), (tuned, OTHER), (plain, OTHER)]
    backend = Transformers(TemplateCache(), Budget(cores=2), context=256)
    try:
        alone = [await ask(backend, *each) for each in asked]
        together = await asyncio.gather(*(ask(backend, *each) for each in asked))
    finally:
        await backend.close()
    assert together == alone and alone[0] != alone[1]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    other = Transformers(TemplateCache(), Budget(cores=2), context=256)
    try:
        assert [await ask(other, *each) for each in asked] == alone
    finally:
        await other.close()
