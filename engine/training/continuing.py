"""Training on top of an earlier adapter: which one `on` names, what a configuration takes over from it, and the copy of
it that a run keeps. Reads references and small files; loads no weights."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from engine.core.files import sha256_of, write_json
from engine.models import refs, saved_files
from engine.models.refs import Ref, Resolved
from engine.training.config import FIELDS, TrainConfig, continued
from engine.training.methods import AUTO, METHODS
from engine.training.objectives import OBJECTIVES
from engine.training.objectives.dpo import ADAPTED
from store import runs, votes
from store.db import Store
from store.errors import BadInput, Conflict, TuningforkError, Unsupported

FOLDER = "start"
"""In a run's folder: the adapter that it continues, copied when the run was queued. The earlier run may go."""
_PLAIN: dict[str, tuple[Any, Any]] = {
    "bias": ("none", None), "modules_to_save": (None, []), "rank_pattern": (None, {}), "alpha_pattern": (None, {}),
    "layers_to_transform": (None, []), "exclude_modules": (None, []),
}  # fmt: skip
"""What a LoRA folder of another program may say of these, so that rank, alpha and targets describe all of it."""


def base_of(store: Store, on: str) -> str:
    """The reference to the base of the adapter that `on` names. Raises what `refs.resolve` raises, and BadInput."""
    return _start(store, on, scores=True).base.ref  # type: ignore[union-attr]  # _start requires one


def voted(store: Store) -> str | None:
    """The run that most votes are about, among those that can be continued: what to train on these votes."""
    seen = Counter(model for vote in votes.all_votes(store) for model in (vote.a_model, vote.b_model))
    for model, _ in seen.most_common():
        with contextlib.suppress(TuningforkError):
            if Ref.read(model).is_run:
                return _start(store, model).ref
    return None


def settled(store: Store, config: TrainConfig) -> tuple[TrainConfig, str]:
    """The configuration with what the adapter decides that it continues, and a sentence on it; without `on`, itself.

    BadInput when the model is another one than the adapter's base, or the method another than the adapter's.
    Unsupported for an adapter of another program that a configuration cannot describe.
    """
    if config.on is None:
        return config, ""
    start = _start(store, config.on, scores=not OBJECTIVES[config.objective].answers)
    assert start.base is not None
    if (model := refs.as_typed(config.model)) != start.base.ref:
        what = f"{start.ref} is an adapter of {start.base.ref}, not of {model}."
        raise BadInput(what, where="on", todo=f"Choose the model {start.base.ref}.")
    shape = _shape(store, start)
    if config.method not in (AUTO, shape["method"]):
        what = f"{start.ref} was trained by the method {shape['method']}, and is continued by it."
        raise BadInput(what, where="method", todo=f"Choose the method {shape['method']}.")
    for name in ("template", "system"):
        if name in shape and getattr(config, name) not in (FIELDS[name].default, shape[name]):
            what = f"{start.ref} was trained with another {name}; what continues it must read rows as it did."
            raise BadInput(what, where=name, todo="Leave it out.")
    adapter = config.replace(**shape, on=start.ref)
    size = f", rank {adapter.rank}, alpha {adapter.alpha:g}" if "rank" in METHODS[adapter.method].fields else ""
    return adapter, f"The run continues {start.ref}: method {adapter.method}{size}."


def keep(store: Store, config: TrainConfig, folder: Path) -> None:
    """Copy the adapter that a settled configuration continues to `folder`, with a manifest of what was copied."""
    start = _start(store, str(config.on), scores=True)
    assert start.adapter is not None
    folder.mkdir(mode=0o700, parents=True)
    files: dict[str, Any] = {}
    for name in saved_files.ADAPTER:
        shutil.copyfile(start.adapter / name, folder / name)
        files[name] = {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
    write_json(folder / saved_files.MANIFEST, {"of": start.ref, "files": files})


def kept(folder: Path, config: TrainConfig) -> Path | None:
    """The copy in a run's folder; None for a run that begins a new adapter. BadInput when it is not what was copied."""
    if config.on is None:
        return None
    start = folder / FOLDER
    if wrong := saved_files.damage(start, saved_files.manifest_of(start).get("files", {"the adapter": {}})):
        what = f"The adapter that the run continues ({config.on}) is damaged: {wrong}."
        raise BadInput(what, where=str(start), todo="Train a new run on top of it.")
    return start


def _start(store: Store, on: str, *, scores: bool = False) -> Resolved:
    """The adapter that `on` names; with `scores` that may be a reward model's, which only a reward model continues."""
    ref = Ref.read(on)
    if ref.strength is not None:
        what = f"{ref} is a run at another strength; a run continues an adapter as it was trained."
        raise BadInput(what, where="on", todo=f"Write {Ref.run(ref.value, ref.step)}.")
    run = runs.get(store, ref.value) if ref.is_run else None
    start = refs.resolve_run(store, run, ref) if run and scores else refs.resolve(store, on)
    if start.adapter is None or start.base is None:
        raise BadInput(
            f"{start.ref} is not an adapter, so nothing can be continued.",
            where="on",
            todo="Name a run (run:NAME) or an adapter folder; a whole model is chosen as the model.",
        )
    if not (start.adapter / "adapter_model.safetensors").is_file():
        raise Conflict(f"{start.ref} has no adapter weights that can be continued.", where=str(start.adapter))
    return start


def _shape(store: Store, start: Resolved) -> dict[str, Any]:
    """Method, shape and template of an adapter, as fields of a configuration."""
    ref = Ref.read(start.ref)
    if ref.is_run:
        before = TrainConfig.from_json(runs.get(store, ref.value).config)
        if before.method not in ADAPTED:
            what = f"{start.ref} was trained by the method {before.method}, whose runs cannot be continued."
            raise Unsupported(what, todo=f"Continue a run of one of the methods {', '.join(ADAPTED)}.")
        return {name: getattr(before, name) for name in ("method", "template", "system", *continued(before.method))}
    assert start.adapter is not None
    found = json.loads((start.adapter / "adapter_config.json").read_text("utf-8"))
    odd = [name for name, plain in _PLAIN.items() if found.get(name) not in plain]
    targets = found.get("target_modules")
    if found.get("peft_type") != "LORA" or odd or not (isinstance(targets, list) and targets):
        why = f"it sets {', '.join(odd)}" if odd else f"it is of type {found.get('peft_type')}"
        if not odd and found.get("peft_type") == "LORA":
            why = "its target modules are a pattern, not a list"
        raise Unsupported(
            f"This adapter cannot be continued: {why}.",
            where=str(start.adapter),
            todo="Continue a LoRA adapter with one rank and alpha for all of its modules, or begin a new adapter.",
        )
    return {
        "method": "lora", "rank": int(found["r"]), "alpha": float(found["lora_alpha"]),
        "targets": tuple(sorted(targets)), "rslora": bool(found.get("use_rslora")),
        "dora": bool(found.get("use_dora")),
    }  # fmt: skip
