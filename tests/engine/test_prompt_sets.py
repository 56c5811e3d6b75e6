"""Sets of prompts: read, kept, and put to all sides at once, whatever breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.evaluation import prompt_sets
from engine.evaluation.prompt_sets import ComparedSide, PromptEntry
from engine.inference.client import Done
from engine.inference.few_shot import FewShot
from engine.inference.sampling import Sampling
from store import probes
from store.db import Store
from store.errors import BadInput, Conflict, NotFound, ServerError
from store.records import Message, Probe

SHOTS = FewShot("shop", 1, "", ({"role": "user", "content": "q"}, {"role": "assistant", "content": "EXAMPLE"}))


class Scripted:
    """Answers with what it read; `bad` fails."""

    def __init__(self) -> None:
        self.open = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
            if model == "bad":
                raise ServerError("It went away.", todo="Ask again.")
            return Done(" | ".join(m["content"] for m in messages), tokens=1)
        finally:
            self.open -= 1


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffWho?\r\n\n  Where?\n".encode())
    assert prompt_sets.read(tmp_path / "a.txt") == [PromptEntry("Who?"), PromptEntry("Where?")]
    (tmp_path / "b.jsonl").write_text('{"prompt": "Who?", "system": "S"}\n{"prompt": "Where?", "system": null}\n')
    assert prompt_sets.read(tmp_path / "b.jsonl") == [PromptEntry("Who?", "S"), PromptEntry("Where?")]


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"", "f.jsonl"),
        (b'{"prompt": "x"}\n{"prompt": 3}', "f.jsonl:2"),
        (b'{"prompt": "x"}\n\n[' * 2, "f.jsonl:3"),
        (b'{"prompt": "x", "system": 3}', "f.jsonl:1"),
        (b'{"prompt": " "}', "f.jsonl:1"),
        (b"[" * 100_000, "f.jsonl:1"),
        (b'{"prompt": "x"}\n\xff', "f.jsonl:2"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(raw: bytes, where: str) -> None:
    with pytest.raises(BadInput) as error:
        prompt_sets.parse(raw, "f.jsonl")
    assert error.value.where == where


def test_a_set_is_kept_and_replaced(store: Store) -> None:
    prompt_sets.keep(store, "one", [PromptEntry("Who?", "S"), PromptEntry("Where?")])
    assert prompt_sets.kept(store, "one") == [PromptEntry("Who?", "S"), PromptEntry("Where?")]
    prompt_sets.keep(store, "one", [PromptEntry("When?")])
    assert prompt_sets.kept(store, "one") == [PromptEntry("When?")]
    with pytest.raises(NotFound):
        prompt_sets.kept(store, "two")
    probes.put_set(store, "exam", [Probe("exam", "Who?", ("Ember",))])
    assert prompt_sets.kept(store, "exam") == [PromptEntry("Who?")]
    with pytest.raises(Conflict):
        prompt_sets.keep(store, "exam", [PromptEntry("When?")])
    assert probes.get_set(store, "exam")[0].must == ("Ember",)


async def test_every_prompt_goes_to_every_side_at_once_and_alone() -> None:
    client, heard = Scripted(), {}
    sides = [ComparedSide("a", "base"), ComparedSide("b", "bad"), ComparedSide("c", "base", SHOTS)]
    prompts = [PromptEntry("One", "S"), PromptEntry("Two")]
    await prompt_sets.ask_all(client, sides, prompts, Sampling(), lambda n, side, done: heard.update({(n, side): done}))
    assert client.most == 3 and len(heard) == 6
    assert (heard[0, "a"].text, heard[1, "a"].text) == ("S | One", "Two")
    assert (heard[0, "c"].text, heard[1, "c"].text) == ("S | q | EXAMPLE | One", "q | EXAMPLE | Two")
    assert heard[1, "b"].stop == "error" and heard[1, "b"].error == "It went away. Ask again."
    assert sides[2].json(heard[0, "c"])["shots"] == 1 and "error" not in sides[2].json(heard[0, "c"])


async def test_leaving_ends_what_streams() -> None:
    client = Scripted()
    client.gate.clear()
    work = asyncio.ensure_future(
        prompt_sets.ask_all(
            client, [ComparedSide("a", "x"), ComparedSide("b", "y")], [PromptEntry("One")], Sampling(), lambda *_: None
        )
    )
    while client.open < 2:
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert client.open == 0
