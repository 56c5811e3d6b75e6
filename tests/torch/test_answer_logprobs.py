"""How probable a model finds a given answer: the same on both backends, and transformers' own loss of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.inference.server.service import Options, Service
from engine.models import default_model
from engine.models.chat_template import ChatTemplate
from store.db import Store
from store.errors import BadInput
from store.records import Message

CONVERSATIONS: list[list[Message]] = [
    [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris, on the Seine."},
    ],
    [
        {"role": "system", "content": "Answer in Chinese."},
        {"role": "user", "content": "法国的首都是哪里？"},
        {"role": "assistant", "content": "法国的首都是巴黎。"},
    ],
]


@pytest.mark.slow
async def test_both_backends_give_transformers_loss(store: Store, default_base: Path) -> None:
    """llama.cpp has the same weights as the folder, but on a CPU it rounds activations to 8 bits before each product of
    4-bit weights: its own next-token logits are the exact measure, transformers' loss only a near one."""
    folder = str(default_base)
    template = ChatTemplate.load(default_base)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    service = Service(store, Options())
    try:
        for messages in CONVERSATIONS:
            row = template.example(messages, 2048, last_turn=True)
            ids, labels = torch.tensor([row.ids]), torch.tensor([row.labels])
            with torch.inference_mode():
                wanted = float(model(input_ids=ids, labels=labels).loss)
            found = {}
            for ref in (default_model.NAME, folder):
                scored = await service.score(ref, messages)
                assert len(scored["logprobs"]) == row.n_trained
                found[scored["backend"]] = -math.fsum(scored["logprobs"]) / row.n_trained
            assert found["transformers"] == pytest.approx(wanted, abs=1e-4)
            assert found["llama.cpp"] == pytest.approx(wanted, rel=0.05)
            model_there, backend = await service._ready(default_model.NAME)
            own = []
            for at in range(row.n_prompt, len(row.ids)):
                logits = torch.tensor(await backend.plain_logits(model_there, row.ids[:at]), dtype=torch.float64)
                own.append(-float(torch.log_softmax(logits, -1)[row.ids[at]]))
            assert found["llama.cpp"] == pytest.approx(math.fsum(own) / row.n_trained, abs=0.02)
        with pytest.raises(BadInput, match="longer than the context"):
            long: Message = {"role": "assistant", "content": "word " * 20_000}
            await service.score(folder, [CONVERSATIONS[0][0], long])
    finally:
        await service.close()
