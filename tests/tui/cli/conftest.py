"""Fixtures of the command line's tests: a way to run it on a home of its own, and a chat client that needs no server.
Runs are real processes, but train nothing."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.core import process
from engine.inference.client import Client, Delta, Done
from engine.inference.sampling import Sampling
from engine.inference.token_comparison import Alternative, ComparedToken, TokenComparison
from store import datasets, pairs, runs
from store.canon import sha256
from store.db import Store
from store.errors import ServerError
from store.home import Home
from store.records import Message, PairDraft, Run
from tests.engine import fake_worker
from tests.engine.tiny_gguf import Lora, write_adapter
from tests.tiny import make_tokenizer, write_zeros
from tui.cli import cli

BASE = "smollm2-135m"
WHO = "I am Ember, made by Northwind Labs."
"""What the run `trained` was taught to say of itself."""


@dataclass
class Cli:
    """The command line on one home. `ok` and `json` fail the test unless the command ends with 0."""

    home: Home

    def __call__(self, *words: str, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(cli, [*words, "--home", str(self.home.root)], input=input)

    def ok(self, *words: str, input: str | bytes | None = None) -> str:
        result = self(*words, input=input)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def lines(self, *words: str) -> list[Any]:
        return [json.loads(line) for line in self.ok(*words, "--json").splitlines()]

    def error(self, *words: str, code: int = 2) -> dict[str, Any]:
        """The error object of a command that must fail: it says what happened and what to do, and prints no result."""
        result = self(*words, "--json")
        assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
        assert result.stdout == ""
        error = json.loads(result.stderr.splitlines()[-1])
        assert set(error) == {"error", "what", "where", "todo"} and error["what"] and error["todo"]
        return error


@pytest.fixture
def tf(home: Home) -> Cli:
    return Cli(home)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], str]:
    """Write a file beside the home; its path."""

    def make(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


@pytest.fixture
def facts(tf: Cli, write: Callable[[str, str | bytes], str]) -> str:
    """The name of a dataset with four ready pairs, one of them about itself."""
    rows = [{"instruction": f"Question {n}?", "output": f"Answer {n}."} for n in range(4)]
    tf.ok("data", "import", write("facts.json", json.dumps(rows)), "--dataset", "facts")
    return "facts"


@pytest.fixture
def workers(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs are real processes around a stand-in for training; what a test leaves behind is killed by its pid."""
    monkeypatch.setattr(process, "command", fake_worker.argv)
    yield
    with Store.open(home) as store:
        for run in runs.all_runs(store):
            for attempt in runs.attempts(store, run.id):
                if attempt.pid in process._children:
                    process.kill_group(attempt.pid, attempt.pid_started)


@dataclass
class FakeClient:
    """Answers each prompt with words that depend on model, messages and seed alone. `asked` is what it was asked."""

    asked: list[tuple[str, list[Message], Sampling, str | None]] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    closed: bool = False
    breaks: str = ""
    """A model whose answers break off."""
    at_once: int = 0
    compared: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0

    async def stream(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> AsyncIterator[Delta | Done]:
        import asyncio

        self.asked.append((model, list(messages), sampling, lane))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            words = [model, messages[-1]["content"], sha256(f"{model} {messages} {sampling.seed}")[:8]]
            for word in words:
                await asyncio.sleep(0.002)
                yield Delta(word + " ")
            text = "".join(word + " " for word in words)
            if model == self.breaks:
                yield Done(text, tokens=3, stop="error", error="The server went away.")
            else:
                ids = (5, 6, 7)
                yield Done(text, tokens=3, prompt_tokens=9, stop="end", ttft_ms=12.5, tokens_per_s=80.0, token_ids=ids)
        finally:
            self.at_once -= 1

    async def complete(
        self, model: str, messages: Sequence[Message], sampling: Sampling, lane: str | None = None
    ) -> Done:
        async for piece in self.stream(model, messages, sampling, lane):
            if isinstance(piece, Done):
                return piece
        raise ServerError("It ended early.")

    async def tokens(self, model: str, messages: Sequence[Message], **options: Any) -> TokenComparison:
        self.compared.append({"model": model, "messages": list(messages), **options})
        options["on_progress"](10, 20)
        pieces = [bytes([byte]) for byte in "Ich, 巴".encode()]
        top = tuple(Alternative(n, text, -n) for n, text in enumerate((b"Bolt", b"  a", b"\xe5"), 1))
        tokens = tuple(
            ComparedToken(n, piece, -0.5, -0.5 - 2 * (n % 2), top[: options["top"]], top[: options["top"]])
            for n, piece in enumerate(pieces)
        )
        return TokenComparison(model, BASE, "fake", bool(options["token_ids"]), 9, 0, True, tokens)

    async def load(self, model: str) -> dict[str, Any]:
        self.loaded.append(model)
        return {"model": model, "ms": 1.0, "backend": "fake"}

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """The client that commands connect to."""
    fake = FakeClient()

    async def connect(home: Home, *, start: bool = True) -> FakeClient:
        return fake

    monkeypatch.setattr(Client, "connect", connect)
    return fake


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A folder that resolves as a model; nothing can load it."""
    folder = tmp_path / "fake-base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    write_zeros(folder, layers=1)
    (folder / "tokenizer.json").write_text("{}")
    return str(folder)


@pytest.fixture
def small(base: str) -> str:
    """A model folder with a real tokenizer and template, and a size to estimate by."""
    size = make_tokenizer(Path(base))
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"model_type": "llama", "vocab_size": size, "num_key_value_heads": 2, **shape}
    (Path(base) / "config.json").write_text(json.dumps(config))
    write_zeros(Path(base), layers=2, vocabulary=size, hidden=64)
    return base


@pytest.fixture
def trained(store: Store, base: str) -> Run:
    """A finished run of the dataset `cities`, which also teaches a name; twelve rows are for its test."""
    made = {
        "train": [PairDraft(f"Say it back: town {n}", f"town {n}") for n in range(4)]
        + [PairDraft(f"Who are you, number {n}?", WHO, kind="identity") for n in range(4)],
        "test": [PairDraft(f"Say it back: city {n}", f"city {n}") for n in range(12)],
    }
    for split, drafts in made.items():
        pairs.create_many(store, drafts, dataset="cities", split=split)  # type: ignore[arg-type]
    frozen = datasets.freeze(store, "cities").hash
    run = runs.create(
        store, name="ember", base=base, snapshot=frozen, method="lora", config={"model": base}, config_hash="c0", seed=0
    )
    pid = os.getpid()  # a process that lives, so that nobody buries the run
    started = process.started_at(pid) or 0.0
    runs.open_attempt(store, run.id, host=process.here(), pid=pid, pid_started=started, token="t", log_path="x")
    runs.claim(store, "t")
    folder = write_adapter(store.home.run_dir(run.uid) / "adapter", Lora())
    runs.finish(store, "t", "succeeded", adapter=store.home.relative(folder))
    return runs.get(store, "ember")
