"""Asks models through the chat server for one-shot commands: both sides at once, the same prompt, sampling and seed.
No history and no kept prefix: an answer depends on its prompt, sampling and seed alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.evaluation import prompt_sets
from engine.evaluation.prompt_sets import PromptEntry
from store import probes
from tui.cli.output import Progress, confirm, say
from tui.cli.streams import STANDARD, input_file
from tui.leaving import leaving

if TYPE_CHECKING:
    from engine.inference.client import Client, Done
    from engine.inference.sampling import Sampling
    from store.db import Store
    from store.home import Home
    from store.records import Message


def check_prompt(text: str, where: str = "--prompt") -> str:
    """`text` itself; BadInput when it is empty or too long."""
    return prompt_sets.check(text, where)


def read_prompts(store: Store, name: str, system: str = "") -> list[PromptEntry]:
    """The prompts of a file (`-` being stdin) or of a saved set. `system` is used where a prompt has none of its own.

    Raises BadInput with file and line for what cannot be read.
    """
    if name != STANDARD and not Path(name).expanduser().exists() and name in probes.sets(store):
        found = prompt_sets.kept(store, name)
    else:
        with input_file(name) as path:
            found = prompt_sets.read(path)
    return [PromptEntry(prompt.text, prompt.system or system) for prompt in found]


def announce(what: str, models: Iterable[str], yes: bool) -> None:
    """Before anything is sent: say that `what` ("The texts of 3 votes") leave this machine, for which models, and ask
    unless `yes`. Nothing where all of them are on this machine."""
    if said := leaving(what, models):
        say(said)
        confirm("Send them?", yes)


async def connect(home: Home) -> Client:
    """The chat server of this home, started when it is not running, with progress when that takes long."""
    from engine.inference.client import Client

    return await _with_progress(Client.connect(home), "Starting the chat server")


async def warm(client: Client, *models: str) -> None:
    """Load models now, with progress; the first use of a model on a machine prepares it."""
    for model in dict.fromkeys(models):
        await _with_progress(client.load(model), f"Loading {model}")


async def _with_progress(work: Any, what: str) -> Any:
    """Await `work`; after a second show on stderr what takes the time."""
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
    from engine.inference.client import Done

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
