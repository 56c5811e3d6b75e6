"""A reference to a run that goes on: each prompt is answered by its newest checkpoint. Nothing is trained here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.gguf.adapter import convert
from engine.inference.protocol import ChatRequest
from engine.inference.records import Finish
from engine.inference.sampling import Sampling
from engine.inference.server.service import Began, Options, Service
from store import runs
from store.db import Store
from store.errors import Conflict, NotFound
from tests.engine.chat_home import add_checkpoint, begin_run
from tests.engine.tiny_gguf import Lora, write_adapter, write_config, write_gguf


@pytest.fixture
def live(store: Store, tmp_path: Path) -> Path:
    return begin_run(store, "live", write_gguf(tmp_path / "tiny.gguf"))


@pytest.fixture
async def service(store: Store) -> AsyncIterator[Service]:
    made = Service(store, Options(context=256))
    yield made
    await made.close()


async def ask(service: Service, model: str) -> tuple[str, Finish]:
    messages = ({"role": "user", "content": "Hello there"},)
    request = ChatRequest(model, messages, Sampling(max_tokens=12), "b", True, False)  # type: ignore[arg-type]
    items = [item async for item in service.answer(request)]
    assert isinstance(items[-1], Finish)
    assert items[0] == Began(items[-1].model), "also an answer that is stopped halfway knows what gave it"
    return "".join(item for item in items if isinstance(item, str)), items[-1]


async def test_each_prompt_is_answered_by_the_newest_checkpoint(service: Service, store: Store, live: Path) -> None:
    with pytest.raises(Conflict, match="no checkpoint yet") as error:
        await ask(service, "run:live")
    assert "runs watch live" in (error.value.todo or "")
    add_checkpoint(store, "live", 10)
    first, end = await ask(service, "run:live")
    assert end.model == "run:live@10"
    add_checkpoint(store, "live", 20)
    second, end = await ask(service, "run:live")
    assert end.model == "run:live@20" and second != first
    again, end = await ask(service, "run:live@10")
    assert end.model == "run:live@10" and again == first, "a step that is named stays"
    folder = write_adapter(live / "adapter", Lora(seed=99))
    convert(folder, write_config(live / "base"), folder / "adapter.gguf")
    runs.finish(store, "token-live", "succeeded", adapter=store.home.relative(folder))
    _, end = await ask(service, "run:live")
    assert end.model == "run:live"


async def test_a_checkpoint_thinned_out_meanwhile_is_a_sentence(service: Service, store: Store, live: Path) -> None:
    folder = add_checkpoint(store, "live", 10)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(NotFound, match="gone from the disk"):
        await ask(service, "run:live")
