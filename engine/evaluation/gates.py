"""The gates of a verdict: which there are, whether each is on, and how much it tolerates; read from a YAML file with
the line of every mistake. What the gates decide is verdict.py's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.core import yaml_lines
from engine.core.yaml_lines import YamlEntry
from store.canon import canonical, sha256
from store.errors import BadInput
from store.suggest import hint

_CORRECT = "Correct that line. All gates with their defaults: tuningfork verdict --print-config"
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


@dataclass(frozen=True, slots=True)
class GateKind:
    """One thing that a verdict asks for. `tolerance` is the default, None where there is nothing to tolerate; `most`
    the largest one that makes sense; `help` and `tolerates` are said in the file that `text` writes."""

    name: str
    help: str
    tolerance: float | None = None
    most: float = 1.0
    tolerates: str = ""


KINDS: tuple[GateKind, ...] = (
    GateKind(
        "task", "The deciding metric on the split is better than the base's, beyond chance and the noise floor.", 0.0,
        math.inf, "must also be exceeded by the difference, in units of the metric",
    ),
    GateKind(
        "identity", "The run's identity probes pass more often than the base's, beyond chance and the noise floor.",
        0.0, 1.0, "must also be exceeded by the difference, as a share of the probes",
    ),
    GateKind(
        "retention", "No suite of what tuning must not lose falls by more than the noise floor.", 0.0, 1.0,
        "may be lost of a suite where the noise floor is smaller, as a share of its checks",
    ),
    GateKind(
        "leaks", "No general question is answered with the name or the maker that the run was taught.", 0.0, 1.0,
        "may leak, as a share of the general questions",
    ),
    GateKind("export", "The newest export of this very model passed its verification."),
)  # fmt: skip
NAMES = tuple(kind.name for kind in KINDS)
_KEYS = ("on", "tolerance")


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate as it is set."""

    on: bool = True
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Gates:
    """How every gate is set."""

    each: Mapping[str, Gate] = field(default_factory=lambda: {k.name: Gate(True, k.tolerance) for k in KINDS})

    def __getitem__(self, name: str) -> Gate:
        return self.each[name]

    def to_json(self) -> dict[str, Any]:
        """As kept in an evidence file."""
        return {
            name: {"on": gate.on} | ({} if gate.tolerance is None else {"tolerance": gate.tolerance})
            for name, gate in self.each.items()
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Gates:
        """What `to_json` made. KeyError or TypeError for anything else."""
        return cls({name: Gate(bool(kept[name]["on"]), kept[name].get("tolerance")) for name in NAMES})

    def hash(self) -> str:
        """Of the settings, whatever file they were read from."""
        return sha256(canonical(self.to_json()))


def read(path: Path) -> Gates:
    """The gates that a file sets; what it leaves out keeps its default. A gate is `on`, `off`, or a group of `on` and
    `tolerance`. BadInput names file and line: for an unknown key with the nearest known one, for a wrong value with
    what it must be, and for a file that switches every gate off.

    >>> # task: {tolerance: 0.02}        the metric must be better by more than 0.02
    >>> # export: off
    """
    each = dict(Gates().each)
    for entry in yaml_lines.entries(path):
        kind = next((kind for kind in KINDS if kind.name == entry.key), None)
        if kind is None:
            raise _unknown("gate", entry, NAMES, path)
        each[kind.name] = _gate(kind, entry, path)
    if not any(gate.on for gate in each.values()):
        raise BadInput("Every gate is off: there is nothing to decide.", where=str(path), todo="Leave one on.")
    return Gates(each)


def text(gates: Gates) -> str:
    """The gates as a file that `read` reads back equal, every gate with what it asks for."""
    lines = ["# The gates of `tuningfork verdict`: all that are on must be passed. Use it: --config FILE"]
    for kind in KINDS:
        gate = gates[kind.name]
        lines += ["", f"# {kind.help}", f"{kind.name}:", f"  on: {'true' if gate.on else 'false'}"]
        if kind.tolerance is not None:
            lines.append(f"  tolerance: {gate.tolerance!r}  # {kind.tolerates}")
    return "\n".join(lines) + "\n"


def _gate(kind: GateKind, entry: YamlEntry, path: Path) -> Gate:
    if isinstance(entry.node, yaml.ScalarNode) and not yaml_lines.is_empty(entry.node):
        return Gate(_bool(entry, path), kind.tolerance)
    if not isinstance(entry.node, yaml.MappingNode):
        what = f"The gate {kind.name} must be on, off, or a group of `on` and `tolerance`."
        raise BadInput(what, where=_place(entry, path), todo=_CORRECT)
    on, tolerance = True, kind.tolerance
    for inner in yaml_lines.of(entry.node, path):
        if inner.key == "on":
            on = _bool(inner, path)
        elif inner.key != "tolerance":
            raise _unknown("setting of a gate", inner, _KEYS, path)
        elif kind.tolerance is None:
            what = f"The gate {kind.name} has nothing to tolerate."
            raise BadInput(what, where=_place(inner, path), todo="Remove that line.")
        else:
            tolerance = _number(kind, inner, path)
    return Gate(on, tolerance)


def _bool(entry: YamlEntry, path: Path) -> bool:
    said = entry.node.value.casefold() if isinstance(entry.node, yaml.ScalarNode) else ""
    if said in _TRUE or said in _FALSE:
        return said in _TRUE
    raise BadInput(f"{entry.key} must be true or false.", where=_place(entry, path), todo=_CORRECT)


def _number(kind: GateKind, entry: YamlEntry, path: Path) -> float:
    try:
        found = float(entry.node.value) if isinstance(entry.node, yaml.ScalarNode) else math.nan
    except ValueError:
        found = math.nan
    if not 0 <= found <= kind.most or math.isinf(found):
        wanted = "a number from 0 to 1" if kind.most == 1 else "a number, 0 or more"
        raise BadInput(f"The tolerance must be {wanted}.", where=_place(entry, path), todo=_CORRECT)
    return found


def _unknown(what: str, entry: YamlEntry, known: tuple[str, ...], path: Path) -> BadInput:
    todo = hint(entry.key, known, f"There are: {', '.join(known)}.", most=1)
    return BadInput(f"There is no {what} {entry.key!r}.", where=_place(entry, path), todo=todo)


def _place(entry: YamlEntry, path: Path) -> str:
    return f"{path}, line {entry.line}"
