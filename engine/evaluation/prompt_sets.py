"""Sets of prompts: read from files, kept in the store, sent to all sides of a comparison one after the other.
Each prompt is asked by itself, without history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.evaluation.client import CompletionClient
from engine.inference.client import Done
from engine.inference.few_shot import FewShot
from engine.inference.limits import LONGEST_PROMPT
from engine.inference.sampling import Sampling
from store import probe_sets, probes
from store.db import Store
from store.errors import BadInput, Conflict, TuningforkError
from store.records import Message, Probe

BIGGEST = 50_000_000
"""Bytes of a file of prompts."""


@dataclass(frozen=True, slots=True)
class PromptEntry:
    """One thing to ask, with the system text before it, if any."""

    text: str
    system: str = ""

    def messages(self) -> list[Message]:
        head = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, {"role": "user", "content": self.text}]


# -- files and the store ----------------------------------------------------------------------------------------------


def check(text: str, where: str = "prompt") -> str:
    """`text` itself; BadInput when it is empty or too long."""
    if not text.strip():
        raise BadInput("The prompt is empty.", where=where, todo="Write something to ask.")
    if len(text) > LONGEST_PROMPT:
        todo = f"At most {LONGEST_PROMPT:,} can be sent."
        raise BadInput(f"The prompt has {len(text):,} characters.", where=where, todo=todo)
    return text


def read(path: Path) -> list[PromptEntry]:
    """The prompts of a file; see `parse`. BadInput when it cannot be read."""
    try:
        if path.stat().st_size > BIGGEST:
            raise BadInput(f"The file has more than {BIGGEST:,} bytes.", where=str(path), todo="Split it.")
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.", where=str(path), todo="Check the path.") from None


def parse(raw: bytes, source: str) -> list[PromptEntry]:
    """One prompt per line, or JSONL objects with `prompt` (and `system`).

    Raises BadInput with file and line for what cannot be read.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadInput("The file is not UTF-8.", where=f"{source}:{line}", todo="Save it as UTF-8.") from None
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise BadInput("The file holds no prompt.", where=source, todo="Write one prompt per line.")
    as_jsonl = source.endswith((".jsonl", ".ndjson")) or lines[0][1].startswith("{")
    one = _json_prompt if as_jsonl else lambda line, where: PromptEntry(check(line, where))
    return [one(line, f"{source}:{n}") for n, line in lines]


def _json_prompt(line: str, where: str) -> PromptEntry:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The line is not JSON: {error}.", where=where, todo='Write {"prompt": "…"}.') from None
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
        raise BadInput("The line has no text under `prompt`.", where=where, todo='Write {"prompt": "…"}.')
    system = row.get("system") or ""
    if not isinstance(system, str):
        raise BadInput("`system` is not a text.", where=where, todo='Write {"prompt": "…", "system": "…"}.')
    return PromptEntry(check(row["prompt"], where), system)


def keep(store: Store, name: str, prompts: Sequence[PromptEntry]) -> int:
    """Keep a set under a name, in place of one of that name: a probe set without anything to judge by.

    Conflict when there is a probe set of that name with `must` or `must_not`, which would be lost, or one that is a
    file.
    """
    if name in probe_sets.files(store.home):
        raise Conflict(f"{name} is a probe set of yours, in a file.", todo="Choose another name.")
    if name in probes.sets(store) and any(probe.must or probe.must_not for probe in probes.get_set(store, name)):
        raise Conflict(f"{name} is a probe set with must or must_not; they would be lost.", todo="Choose another name.")
    return probes.put_set(store, name, [Probe(name, p.text, (), system=p.system) for p in prompts])


def kept(store: Store, name: str) -> list[PromptEntry]:
    """The prompts of a set. NotFound suggests similar names."""
    return [PromptEntry(probe.question, probe.system) for probe in probes.get_set(store, name)]


# -- asking -----------------------------------------------------------------------------------------------------------


def answer_json(model: str, done: Done) -> dict[str, Any]:
    """One side's answer as scripts read it. `error` is there only when the answer broke off, `reasoning` when the model
    thought before it answered, `note` when something could not be done as asked.

    Of a run that is still being tuned, `model` names the checkpoint that answered.
    """
    found = {
        "model": done.model or model,
        "text": done.text,
        "tokens": done.tokens,
        "stop": done.stop,
        "ttft_ms": done.ttft_ms,
        "tokens_per_s": done.tokens_per_s,
    }
    found |= {name: text for name in ("reasoning", "note") if (text := getattr(done, name))}
    if done.dropped_turns:
        found["dropped_turns"] = done.dropped_turns
    return {**found, "error": done.error} if done.error else found


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """A model to ask, maybe with examples before the prompt. `name` is a, b, …"""

    name: str
    model: str
    few_shot: FewShot | None = None

    @property
    def label(self) -> str:
        """The name of what answers: a model with examples is not the model alone."""
        return self.few_shot.of(self.model) if self.few_shot else self.model

    def reads(self, prompt: PromptEntry) -> list[Message]:
        """The prompt, after the examples if there are any."""
        return self.few_shot.before(prompt.messages()) if self.few_shot else prompt.messages()

    def json(self, done: Done) -> dict[str, Any]:
        """An answer as scripts read it."""
        more = {"dataset": self.few_shot.dataset, "shots": self.few_shot.shots} if self.few_shot else {}
        return {**answer_json(self.model, done), **more}


OnAnswer = Callable[[int, str, Done], None]
"""Called with the prompt's number from 0, the side's name, and the answer."""


async def ask_all(
    client: CompletionClient,
    sides: Sequence[ComparedSide],
    prompts: Sequence[PromptEntry],
    sampling: Sampling,
    on_answer: OnAnswer,
) -> None:
    """Send every prompt to all sides at once, one prompt after the other.

    An answer that fails is reported as one that stopped with an error, and the next prompt is asked. Cancelling stops
    the answers on the server too.
    """

    async def one(n: int, side: ComparedSide) -> None:
        try:
            done = await client.complete(side.model, side.reads(prompts[n]), sampling)
        except TuningforkError as error:
            done = Done("", stop="error", error=f"{error.what} {error.todo or ''}".strip())
        on_answer(n, side.name, done)

    for n in range(len(prompts)):
        tasks = [asyncio.ensure_future(one(n, side)) for side in sides]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
