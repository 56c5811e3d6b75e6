"""A run's settings as a YAML file: read with the line of every mistake, and written so that it reads back equal.
The settings are the rows of TrainConfig and what `tuningfork train` needs besides them; nothing is started here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.core import yaml_lines
from engine.core.yaml_lines import YamlEntry
from engine.training.config import FIELDS, TrainConfig, continued, used_by
from engine.training.fields import TrainingField
from engine.training.objectives import why_unused
from store.errors import BadInput
from store.records import Run
from store.suggest import hint

RUN_KEYS = ("dataset", "snapshot", "name")
"""What a file may say besides the rows of TrainConfig: the data, and the run's name."""
_CORRECT = "Correct that line. All settings: tuningfork train --help"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says. `values` are fields of TrainConfig, `run` those of RUN_KEYS, `lines` where each stands."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    run: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def place(self, name: str) -> str:
        """File and line of a key, for errors and messages."""
        return f"{self.path}, line {self.lines[name]}"


def read(path: Path, words: Mapping[str, Iterable[str]] | None = None) -> ConfigFile:
    """Read a file. BadInput names file and line: for an unknown key with the nearest known one, for a wrong value with
    what it must be. `words` are further values that a field takes, as the command line does: `method: dora`.
    """
    found = ConfigFile(path)
    for entry in yaml_lines.entries(path):
        found.lines[entry.key] = entry.line
        if entry.key in RUN_KEYS:
            found.run[entry.key] = _run_value(entry, path)
        elif entry.key in FIELDS:
            found.values[entry.key] = _value(FIELDS[entry.key], entry, path, (words or {}).get(entry.key, ()))
        else:
            known = (*RUN_KEYS, *FIELDS)
            todo = hint(entry.key, known, f"Known settings: {', '.join(known)}.", most=1)
            what = f"There is no setting {entry.key!r}."
            raise BadInput(what, where=f"{path}, line {entry.line}", todo=todo)
    return found


def _run_value(entry: YamlEntry, path: Path) -> str:
    if not isinstance(entry.node, yaml.ScalarNode) or yaml_lines.is_empty(entry.node) or not entry.node.value.strip():
        raise BadInput(f"{entry.key} must be a name.", where=f"{path}, line {entry.line}", todo=_CORRECT)
    return str(entry.node.value)


def _value(field: TrainingField, entry: YamlEntry, path: Path, words: Iterable[str]) -> Any:
    node = entry.node
    try:
        if yaml_lines.is_empty(node):
            field.require(None)
            return None
        if isinstance(node, yaml.SequenceNode) and field.kind == "names":
            value: Any = tuple(yaml_lines.plain(node, path))
        elif not isinstance(node, yaml.ScalarNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a group of settings"
            raise BadInput(f"{field.label} is {kind}; it must be {field.range}.")
        elif node.value in words:
            return node.value
        elif field.kind == "names" or (field.kind != "text" and node.style is None):
            return field.parse(node.value)
        else:  # a text stays as it is written; a number in quotes is a text
            value = node.value
        field.require(value)
        return value
    except BadInput as error:
        raise BadInput(error.what, where=f"{path}, line {entry.line}", todo=error.todo or _CORRECT) from None


def write(config: TrainConfig, run: Mapping[str, str | None] | None = None, notes: Iterable[str] = ()) -> str:
    """A configuration as YAML with every setting that it uses; `notes` become comments at its top.

    Settings that its objective or method does not read are left out, and those that come from the run it continues.
    """
    values: dict[str, Any] = {key: value for key, value in (run or {}).items() if value}
    for name in FIELDS:
        unused = why_unused(config.objective, name) is not None or not used_by(config.method, name, config.objective)
        if not unused and not (config.on is not None and name in continued(config.method)):
            value = getattr(config, name)
            values[name] = list(value) if isinstance(value, tuple) else value
    return "".join(f"# {line}\n" for note in notes for line in note.splitlines()) + dump(values)


def of_run(run: Run) -> str:
    """A run's configuration as a file that trains the same again: on the same snapshot, under a new name."""
    notes = [f"The settings of run {run.name}. Train with them again: tuningfork train --config FILE"]
    return write(TrainConfig.from_json(run.config), {"snapshot": run.snapshot}, notes)


def dump(values: Mapping[str, Any]) -> str:
    """Settings as YAML, one a line, in their order."""
    return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False))
