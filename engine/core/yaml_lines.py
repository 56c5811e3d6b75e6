"""YAML read with the line of every key: PyYAML's safe loader, duplicate keys refused, nothing constructed twice.
What the keys mean is said by their readers: runs' configurations, migrated ones, gates of a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from store.errors import BadInput

MOST_BYTES = 1_000_000
"""A configuration above this size is something else by mistake."""
_OTHER = "Name a YAML file with settings."


@dataclass(frozen=True, slots=True)
class YamlEntry:
    """One key of a mapping: its value as YAML node, and the line of the file that it stands in, from 1."""

    key: str
    node: yaml.Node
    line: int


def entries(path: Path) -> list[YamlEntry]:
    """The keys of the mapping that a file holds, in order. BadInput for anything else, with the line where possible."""
    try:
        body = path.read_bytes()
    except IsADirectoryError:
        raise BadInput("This is a folder, not a YAML file.", where=str(path), todo=_OTHER) from None
    if len(body) > MOST_BYTES:
        raise BadInput(f"The file has {len(body):,} bytes: too many for a configuration.", where=str(path), todo=_OTHER)
    try:
        root = yaml.compose(body.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        raise BadInput("The file is not UTF-8 text.", where=str(path), todo="Save it as UTF-8.") from None
    except RecursionError:
        raise BadInput("The file is nested too deeply for a configuration.", where=str(path), todo=_OTHER) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise BadInput(f"The file is not valid YAML: {problem}.", where=where, todo="Correct that line.") from error
    if not isinstance(root, yaml.MappingNode):
        raise BadInput("The file holds no settings.", where=str(path), todo="Write one `name: value` on each line.")
    return of(root, path)


def of(mapping: yaml.MappingNode, path: Path) -> list[YamlEntry]:
    """The keys of one mapping. Keys are taken as written: YAML 1.1 would read the key `on` as true."""
    found: dict[str, YamlEntry] = {}
    for key, value in mapping.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise BadInput("A key must be a name.", where=f"{path}, line {line}", todo="Write it as name: value.")
        if key.value in found:
            what = f"{key.value!r} is there twice: on line {found[key.value].line}, too."
            raise BadInput(what, where=f"{path}, line {line}", todo="Keep one of them.")
        found[key.value] = YamlEntry(key.value, value, line)
    return list(found.values())


def is_empty(node: yaml.Node) -> bool:
    """Whether a value is null."""
    return isinstance(node, yaml.ScalarNode) and str(node.tag) == "tag:yaml.org,2002:null"


def plain(node: yaml.Node, path: Path) -> Any:
    """A value as text, None, list or dict; texts as written, so that `5e-4` and `yes` mean what the reader makes of
    them. A value that holds itself through an alias is refused."""
    return _plain(node, path, ())


def _plain(node: yaml.Node, path: Path, above: tuple[int, ...]) -> Any:
    if id(node) in above or len(above) > 20:
        where = f"{path}, line {node.start_mark.line + 1}"
        raise BadInput("A value is nested too deeply.", where=where, todo="Write it without aliases.")
    inside = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each, path, inside) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        return {entry.key: _plain(entry.node, path, inside) for entry in of(node, path)}
    return None if is_empty(node) else str(node.value)
