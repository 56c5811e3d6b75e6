"""Configurations of other programs as ours: LLaMA-Factory, Axolotl, TRL and AutoTrain. To add one, write its file and
add it to PROGRAMS. What has no counterpart and what changed its meaning is listed, never dropped without a word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engine.core import yaml_lines
from engine.core.yaml_lines import YamlEntry
from engine.training import config_files
from engine.training.config import FIELDS, TrainConfig, used_by
from engine.training.migrating.autotrain import AUTOTRAIN
from engine.training.migrating.axolotl import AXOLOTL
from engine.training.migrating.base import ForeignKey, Migration, Program
from engine.training.migrating.llamafactory import LLAMA_FACTORY
from engine.training.migrating.trl import TRL
from engine.training.objectives import OBJECTIVES, why_unused
from engine.training.recipes import DEFAULT, config_for
from store.errors import BadInput

PROGRAMS: dict[str, Program] = {program.name: program for program in (LLAMA_FACTORY, AXOLOTL, TRL, AUTOTRAIN)}
"""Every program whose files can be read, by name."""
_SECRET = re.compile(r"token|secret|password|api_?key", re.IGNORECASE)
_DATA = re.compile(r"^(data|datasets|dataset|dataset_name|dataset_dir|eval_dataset)(\.|$)")


@dataclass(frozen=True, slots=True)
class Missing:
    """A key without counterpart. `value` is hidden when it may be a secret; `why` says what to do instead, if known."""

    key: str
    value: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Migrated:
    """`text` is our file for `config`; `changed` are sentences; `missing` the keys without counterpart."""

    program: Program
    config: TrainConfig
    text: str
    changed: list[str]
    missing: list[Missing]


def migrate(path: Path, program: str | None = None) -> Migrated:
    """Read another program's file; which one is known by its keys, or given. BadInput where it cannot be known, and
    for values that we cannot use."""
    keys = {key.name: key for key in _flat(yaml_lines.entries(path), path)}
    chosen = PROGRAMS[program] if program else _program_of(keys, path)
    found = Migration(path, chosen, keys)
    # Where a file says nothing, the trainers of all four take transformers' defaults, and so does what it becomes.
    found.values |= {"lr": 5e-5, "epochs": 3.0, "weight_decay": 0.0, "max_grad_norm": 1.0, "seed": 42, "dropout": 0.0}
    before = dict(found.values)
    chosen.move(found)
    if "model" not in found.values:
        raise BadInput("The file names no model.", where=str(path), todo="Add the key of its model.")
    objective = found.values["objective"]
    recipe = "instruct" if OBJECTIVES[objective].recipe == DEFAULT else OBJECTIVES[objective].recipe
    for name in list(found.values):
        if why_unused(objective, name) is not None or not used_by(found.values["method"], name, objective):
            if found.values[name] != before.get(name, FIELDS[name].default):
                what = f"The objective {objective} with the method {found.values['method']} does not use {name}."
                found.changed.append(what)
            del found.values[name]
    config = config_for(recipe, **found.values)
    plain = {*before, "rank", "alpha", "max_length", "batch_size", "scheduler", "warmup"} & found.values.keys()
    if silent := [
        f"{name} {FIELDS[name].format(found.values[name])}" for name in FIELDS if name in plain - found.given
    ]:
        found.changed.append(f"The file leaves these to {chosen.title}, which takes: {', '.join(silent)}.")
    values = {"recipe": recipe, **found.values}
    ordered: dict[str, Any] = dict(found.run)
    for name in FIELDS:
        if name in values:
            ordered[name] = list(values[name]) if isinstance(values[name], tuple) else values[name]
    missing = [_missing(key) for key in found.missing()]
    head = f"From {chosen.title}'s {path.name}. The data: tuningfork data import, then train --dataset NAME."
    notes = [head, *found.changed, *(f"no counterpart: {each.key} (line {each.line})" for each in missing)]
    comments = "".join(f"# {line}\n" for note in notes for line in note.splitlines())
    return Migrated(chosen, config, comments + config_files.dump(ordered), found.changed, missing)


def _flat(entries: list[YamlEntry], path: Path, before: str = "", depth: int = 0) -> list[ForeignKey]:
    """The keys of all levels, groups before their names: params.lr. Lists stay whole."""
    found: list[ForeignKey] = []
    for entry in entries:
        name = f"{before}{entry.key}"
        if isinstance(entry.node, yaml.MappingNode) and entry.node.value:
            if depth >= 5:
                raise BadInput("The file is nested too deeply.", where=f"{path}, line {entry.line}", todo="Correct it.")
            found += _flat(yaml_lines.of(entry.node, path), path, f"{name}.", depth + 1)
        else:
            found.append(ForeignKey(name, yaml_lines.plain(entry.node, path), entry.line))
    return found


def _program_of(keys: dict[str, ForeignKey], path: Path) -> Program:
    """The program with the most signs among the keys."""
    signs = {program: len(program.signs & keys.keys()) for program in PROGRAMS.values()}
    best = max(signs.values())
    likely = [program for program, many in signs.items() if many == best]
    if not best or len(likely) > 1:
        names = ", ".join(PROGRAMS)
        raise BadInput(
            "It cannot be told which program the file is for.", where=str(path), todo=f"Give --from: {names}."
        )
    return likely[0]


def _missing(key: ForeignKey) -> Missing:
    why = ""
    if _DATA.match(key.name):
        why = "Import the data: tuningfork data import FILE --dataset NAME."
    elif key.name == "val_size" or key.name == "val_set_size":
        why = "Split the dataset: tuningfork data split."
    value = "(hidden)" if _SECRET.search(key.name) else str(key.value)
    return Missing(key.name, value if len(value) <= 60 else value[:59] + "…", key.line, why)
