"""Asks models through the chat server for one-shot commands: both sides at once, the same prompt, sampling and seed.
No history and no kept prefix: an answer depends on its prompt, sampling and seed alone."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tui.cli.output import Progress

if TYPE_CHECKING:
    from engine.client import Client, Done
    from engine.sampling import Sampling
    from store.home import Home
    from store.records import Message

LONGEST = 100_000
"""Characters of a prompt; what is longer is refused before a model is loaded."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to ask, with the system text before it, if any."""

    text: str
    system: str = ""

    def messages(self) -> list[Message]:
        head = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, {"role": "user", "content": self.text}]


def check_prompt(text: str, where: str = "--prompt") -> str:
    """`text` itself; BadInput when it is empty or too long to be meant."""
    if not text.strip():
        raise BadInput("The prompt is empty.", where=where, todo="Write something to ask.")
    if len(text) > LONGEST:
        todo = f"At most {LONGEST:,} can be sent."
        raise BadInput(f"The prompt has {len(text):,} characters.", where=where, todo=todo)
    return text


def read_prompts(name: str, system: str = "") -> list[Prompt]:
    """The prompts of a file, `-` being stdin: one a line, or JSONL objects with `prompt` (and `system`).

    Raises BadInput with file and line for what cannot be read. `system` stands where a line gives none.
    """
    source = "stdin" if name == "-" else name
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).expanduser().read_bytes()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadInput("The file is not UTF-8.", where=f"{source}:{line}", todo="Save it as UTF-8.") from None
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.", where=source, todo="Check the path.") from None
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise BadInput("The file holds no prompt.", where=source, todo="Write one prompt a line.")
    as_jsonl = source.endswith((".jsonl", ".ndjson")) or lines[0][1].startswith("{")
    read = _json_prompt if as_jsonl else lambda line, where: Prompt(check_prompt(line, where))
    found = [read(line, f"{source}:{n}") for n, line in lines]
    return [Prompt(prompt.text, prompt.system or system) for prompt in found]


def _json_prompt(line: str, where: str) -> Prompt:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadInput(f"The line is not JSON: {error}.", where=where, todo='Write {"prompt": "…"}.') from None
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
        raise BadInput("The line has no text under `prompt`.", where=where, todo='Write {"prompt": "…"}.')
    system = row.get("system") or ""
    if not isinstance(system, str):
        raise BadInput("`system` is not a text.", where=where, todo='Write {"prompt": "…", "system": "…"}.')
    return Prompt(check_prompt(row["prompt"], where), system)


async def connect(home: Home) -> Client:
    """The chat server of this home, started when it is not there, with a word about it when that takes long."""
    from engine.client import Client

    return await _patiently(Client.connect(home), "Starting the chat server")


async def warm(client: Client, *models: str) -> None:
    """Load models now, so that the wait is named; the first use of a model on a machine prepares it."""
    for model in dict.fromkeys(models):
        await _patiently(client.load(model), f"Loading {model}")


async def _patiently(work: Any, what: str) -> Any:
    """Await `work`; after a second tell on stderr what takes the time."""
    task = asyncio.ensure_future(work)
    try:
        with Progress(what) as progress:
            seconds = 0
            while not (await asyncio.wait({task}, timeout=1.0))[0]:
                seconds += 1
                progress.show(f"{what}, {seconds} s …")
        return task.result()
    finally:
        task.cancel()


async def ask(
    client: Client, model: str, messages: Sequence[Message], sampling: Sampling, on_text: Callable[[str], None]
) -> Done:
    """One answer, its pieces going to `on_text`."""
    from engine.client import Done

    pieces = client.stream(model, list(messages), sampling)
    try:
        async for piece in pieces:
            if isinstance(piece, Done):
                return piece
            on_text(piece.text)
    finally:
        await _close(pieces)
    return Done("", stop="error", error="The answer broke off before its end.")


async def _close(pieces: AsyncIterator[Any]) -> None:
    """Closing the iterator is what cancels the generation on the server."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


async def together(*work: Any) -> list[Any]:
    """Await all at once; the first error cancels the others, waits for them, and is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer_json(model: str, done: Done) -> dict[str, Any]:
    """One side of a comparison as scripts read it; `error` is there only when the answer broke off.

    Of a run that goes on, `model` names the checkpoint that answered.
    """
    found = {
        "model": done.model or model,
        "text": done.text,
        "tokens": done.tokens,
        "stop": done.stop,
        "ttft_ms": done.ttft_ms,
        "tokens_per_s": done.tokens_per_s,
    }
    if done.dropped_turns:
        found["dropped_turns"] = done.dropped_turns
    return {**found, "error": done.error} if done.error else found


def figures(done: Done) -> str:
    """`24 tokens, 96/s, first after 140 ms` and why it ended, unless by itself."""
    parts = [f"{done.tokens} tokens"]
    if done.tokens_per_s:
        parts.append(f"{done.tokens_per_s:.0f}/s")
    if done.ttft_ms:
        parts.append(f"first after {done.ttft_ms:.0f} ms")
    ends = {"length": "cut at the limit", "cancelled": "stopped", "error": f"broke off: {done.error}"}
    if done.stop in ends:
        parts.append(ends[done.stop])
    if done.dropped_turns:
        parts.append(f"{done.dropped_turns} earlier messages did not fit")
    return ", ".join(parts)
