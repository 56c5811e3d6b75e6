"""The log probabilities of an echoed prompt against transformers' own, on a tiny model with real weights."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from engine.inference import access
from engine.inference.server.service import Options, Service
from store.db import Store
from store.home import Home
from tests.archs import make
from tests.engine.serving import serving

TEXT = "The river rises in the mountains and flows. Where?"


async def test_an_echoed_prompt_has_the_log_probabilities_of_transformers(home: Home, tmp_path: Path) -> None:
    base = make("smollm", tmp_path / "base")
    ids = Tokenizer.from_file(str(base / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    wanted = [float(logits[at - 1, ids[at]]) for at in range(1, len(ids))]
    with Store.open(home) as store:
        service = Service(store, Options())
        await service.load(str(base), pin=True)
        async with serving(home, service):
            info = access.read_info(home)
            assert info is not None
            headers = {"Authorization": f"Bearer {info.token}"}
            async with httpx.AsyncClient(base_url=info.url, headers=headers, timeout=60, trust_env=False) as http:
                body = {"model": str(base), "prompt": [ids], "max_tokens": 1, "logprobs": 1, "echo": True}
                (choice,) = (await http.post("/v1/completions", json=body)).json()["choices"]
                details = (await http.get("/tokenizer_info")).json()
        await service.close()
    found = choice["logprobs"]
    assert found["token_logprobs"][1:-1] == pytest.approx(wanted, abs=1e-4)
    assert max(found["top_logprobs"][-1].values()) == pytest.approx(float(logits[-1].max()), abs=1e-4)
    assert details["eos_token"] == "<|im_end|>" and "chat_template" in details
