"""Model references: one grammar for every place that names a model, resolved to weights, tokenizer and adapter on disk.
Looks at files and the store, never at the network, and loads nothing."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine.models import default_model
from store import models, runs
from store.db import Store
from store.errors import BadInput, Conflict, NotFound, Unsupported
from store.records import END_STATES, Run

RefKind = Literal["embedded", "hub", "folder", "gguf", "run", "endpoint"]
GRAMMAR = (
    f"A model reference is {default_model.NAME}, run:NAME or run:NAME@STEP, a folder, a .gguf file, "
    "org/name on the Hugging Face hub, or http://host:port/v1#model."
)
ENDPOINT = ("http://", "https://")
"""How a reference to a model on another server begins."""
_RUN = re.compile(r"run:([A-Za-z0-9._-]{1,64})(?:@(\d{1,9}))?")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class Ref:
    """A parsed reference. `value` is a name, an absolute path or a URL; `step` of a run, `model` of an endpoint."""

    kind: RefKind
    value: str
    step: int | None = None
    model: str | None = None

    def __str__(self) -> str:
        if self.kind == "run":
            return f"run:{self.value}" + (f"@{self.step}" if self.step is not None else "")
        return f"{self.value}#{self.model}" if self.kind == "endpoint" else self.value


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where everything of a model is. Paths are absolute and exist; None means "does not have one".

    `folder` holds Hugging Face safetensors and tokenizer (None until prepared), `gguf` the base weights for llama.cpp,
    `adapter` a PEFT folder, `adapter_gguf` the same for llama.cpp, `tokenizer` the folder with tokenizer.json. A run
    carries its base's `folder` and `gguf`, and the whole base as `base`. `ref` is the normal form: parsing it gives the
    same model.
    """

    ref: str
    kind: RefKind
    title: str
    base: Resolved | None = None
    folder: Path | None = None
    gguf: Path | None = None
    adapter: Path | None = None
    adapter_gguf: Path | None = None
    tokenizer: Path | None = None
    url: str | None = None
    endpoint_model: str | None = None


def parse(text: str) -> Ref:
    """What kind of reference `text` is. BadInput when it breaks the grammar, NotFound for a name of nothing."""
    text = text.strip()
    if not text or any(ord(c) < 32 for c in text):
        raise BadInput("The model reference is empty or holds control characters.", todo=GRAMMAR)
    if text.casefold() == default_model.NAME:
        return Ref("embedded", default_model.NAME)
    if text.startswith("run:"):
        match = _RUN.fullmatch(text)
        if not match:
            todo = "Write run:NAME, or run:NAME@STEP with a whole step."
            raise BadInput(f"{text!r} is not a reference to a run.", todo=todo)
        return Ref("run", match[1], step=int(match[2]) if match[2] else None)
    if text.startswith(ENDPOINT):
        url, _, model = text.partition("#")
        if not model or not url.partition("//")[2].strip("/"):
            raise BadInput(f"{text!r} does not name host and model.", todo="Write http://host:port/v1#model.")
        return Ref("endpoint", url.rstrip("/"), model=model)
    path = Path(text).expanduser()
    if text.casefold().endswith(".gguf"):
        return Ref("gguf", str(path.absolute()))
    if path.is_dir() or text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
        return Ref("folder", str(path.resolve()))
    if _HUB.fullmatch(text):
        return Ref("hub", text)
    raise NotFound(f"There is no model {text!r}.", todo=GRAMMAR)


def resolve(store: Store, text: str) -> Resolved:
    """Find the model that `text` names.

    Raises NotFound (with near names) when it is unknown or gone, Conflict when a run has nothing to load yet, BadInput
    or Unsupported when what is there is no model that can be used. Never touches the network.
    """
    try:
        ref = parse(text)
    except NotFound as error:
        raise NotFound(error.what, where=error.where, todo=_near(store, text) or error.todo) from None
    match ref.kind:
        case "embedded":
            folder, gguf = default_model.prepared(store.home), default_model.gguf()
            return Resolved(ref.value, "embedded", default_model.TITLE, folder=folder, gguf=gguf, tokenizer=folder)
        case "endpoint":
            return Resolved(str(ref), "endpoint", str(ref.model), url=ref.value, endpoint_model=ref.model)
        case "run":
            return _run(store, ref)
        case "gguf":
            return _gguf(store, ref)
        case "folder":
            return _folder(Path(ref.value), ref)
        case "hub":
            return _hub(store, ref)


def known(store: Store) -> list[str]:
    """References to offer, best first: the embedded model, tuned runs (newest first), then models that were added."""
    tuned = [f"run:{run.name}" for run in runs.all_runs(store) if run.adapter or runs.checkpoints(store, run.id)]
    added = [model.ref for model in models.all_models(store)]
    return list(dict.fromkeys([default_model.NAME, *tuned, *added]))


def followed(store: Store, texts: Iterable[str]) -> dict[str, int | None]:
    """Those references that name a run which still goes on, each with the step of its newest checkpoint: such a
    reference moves on by itself. None where the run has no checkpoint yet."""
    found: dict[str, int | None] = {}
    for text in texts:
        match = _RUN.fullmatch(text)
        if not match or match[2]:
            continue
        try:
            run = runs.get(store, match[1])
        except NotFound:
            continue
        if run.state not in END_STATES and not run.adapter:
            found[text] = max((c.step for c in runs.checkpoints(store, run.id)), default=None)
    return found


def _near(store: Store, text: str) -> str | None:
    """A hint that names the known references closest to a wrong one, or all of them."""
    names = known(store)
    by_word = {name.removeprefix("run:").casefold(): name for name in names}
    hits = difflib.get_close_matches(text.strip().removeprefix("run:").casefold(), by_word, n=3, cutoff=0.5)
    if hits:
        return "Did you mean " + " or ".join(by_word[hit] for hit in hits) + "?"
    return f"Known models: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}. {GRAMMAR}"


def _run(store: Store, ref: Ref) -> Resolved:
    try:
        run = runs.get(store, ref.value)
    except NotFound:
        raise NotFound(f"There is no run {ref.value!r}.", todo=_near(store, str(ref))) from None
    step, adapter = _adapter_of(store, run, ref.step)
    if not (adapter / "adapter_config.json").is_file():
        raise NotFound(
            f"The adapter of run {run.name} is gone from the disk.",
            where=str(adapter),
            todo="Restore the folder, or train the run again.",
        )
    base = resolve(store, run.base)
    converted = adapter / "adapter.gguf"
    return replace(
        base,
        ref=str(replace(ref, step=step)),
        kind="run",
        title=run.name + (f" at step {step}" if step is not None else ""),
        base=base,
        adapter=adapter,
        adapter_gguf=converted if converted.is_file() else None,
        tokenizer=adapter if (adapter / "tokenizer.json").is_file() else base.tokenizer,
    )


def _adapter_of(store: Store, run: Run, step: int | None) -> tuple[int | None, Path]:
    """Folder of the step asked for, else of the finished adapter (step None), else of the last checkpoint."""
    if step is None and run.adapter:
        return None, store.home.absolute(run.adapter)
    saved = {c.step: c for c in runs.checkpoints(store, run.id)}
    if step is None and saved:
        step = max(saved)
    if step in saved:
        return step, store.home.absolute(saved[step].path)
    if saved or run.adapter:
        have = ", ".join(str(s) for s in sorted(saved)) or "none; its finished adapter is run:" + run.name
        raise NotFound(f"Run {run.name} has no checkpoint at step {step}.", todo=f"Its checkpoints: {have}.")
    todo = {
        "succeeded": "Train the run again.",
        "failed": f"See why: tuningfork runs show {run.name}",
        "stopped": f"Resume it: tuningfork runs resume {run.name}",
        "lost": f"Resume it: tuningfork runs resume {run.name}",
    }.get(run.state, f"Wait for it: tuningfork runs watch {run.name}")
    still = "" if run.state in END_STATES else " yet"
    raise Conflict(f"Run {run.name} is {run.state}: it has no adapter and no checkpoint{still}.", todo=todo)


def _gguf(store: Store, ref: Ref) -> Resolved:
    path = Path(ref.value)
    if not path.is_file():
        raise NotFound("There is no such GGUF file.", where=ref.value, todo="Check the path.")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.", where=ref.value) from None
    if magic != b"GGUF":
        raise BadInput(
            "This is not a GGUF file: it does not begin with the letters GGUF.",
            where=ref.value,
            todo="Download or copy it again, whole.",
        )
    folder = default_model.prepared(store.home, ref.value)
    return Resolved(ref.value, "gguf", path.stem, folder=folder, gguf=path, tokenizer=folder)


def _folder(folder: Path, ref: Ref) -> Resolved:
    where = str(folder)
    if not folder.is_dir():
        raise NotFound("There is no such model folder.", where=where, todo=GRAMMAR)
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise Unsupported(
            "This folder holds an adapter, not a whole model.",
            where=where,
            todo="Name its run as run:NAME, or a folder with the merged model.",
        )
    _whole_model(folder)
    title = ref.value if ref.kind == "hub" else folder.name
    return Resolved(str(ref), ref.kind, title, folder=folder, tokenizer=folder)


def _whole_model(folder: Path) -> None:
    """Raise unless config, weights and a fast tokenizer are there; BadInput or Unsupported say which is missing."""
    where = str(folder)
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput("This folder holds no model: config.json is missing.", where=where) from None
    except (OSError, ValueError):
        raise BadInput("The model's configuration is not readable JSON.", where=str(folder / "config.json")) from None
    if not isinstance(config, dict) or not config.get("model_type"):
        raise BadInput("The configuration names no model_type.", where=str(folder / "config.json"))
    if not (any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))):
        raise BadInput("This model folder holds no weights (*.safetensors).", where=where)
    if not (folder / "tokenizer.json").is_file():
        raise Unsupported(
            "This model folder has no tokenizer.json, which the chat template needs.",
            where=where,
            todo="Save the model's fast tokenizer into the folder.",
        )


def _hub(store: Store, ref: Ref) -> Resolved:
    folder = hub_snapshot(ref.value)
    if folder is None:
        near = difflib.get_close_matches(ref.value, known(store), n=1)
        todo = f"Fetch it once: tuningfork models add {ref.value}" + (f" - or did you mean {near[0]}?" if near else "")
        raise NotFound(f"{ref.value} is not on this machine, and Tuningfork downloads nothing by itself.", todo=todo)
    return _folder(folder, ref)


def hub_snapshot(name: str) -> Path | None:
    """The folder of `org/name` in the local Hugging Face cache, at its main revision; None if it was never fetched."""
    say = os.environ.get
    cache = say("HF_HOME") or f"{say('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    repo = Path(say("HF_HUB_CACHE") or f"{cache}/hub").expanduser() / f"models--{name.replace('/', '--')}"
    try:
        folder = repo / "snapshots" / (repo / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        return None
    return folder if (folder / "config.json").is_file() else None
