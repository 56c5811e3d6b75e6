"""What an exported GGUF file says of itself: names, licence and where it comes from.
No path of this machine goes in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gguf

from engine import embedded


@dataclass(frozen=True, slots=True)
class About:
    """The general.* keys, and `facts` under tuningfork.*: run, step, snapshot, date."""

    name: str
    base: str = ""
    licence: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def write_about(writer: gguf.GGUFWriter, about: About) -> None:
    """Add the keys to a file being written."""
    writer.add_name(about.name)
    if about.licence:
        writer.add_license(about.licence)
    if about.base:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, about.base)
    for key, value in about.facts.items():
        writer.add_string(f"tuningfork.{key}", value)


def licence_of(base: str, folder: Path | None) -> str:
    """The base's licence as its own card names it (`license:` at the top of README.md); "" when it is not known."""
    if base == embedded.NAME:
        return "apache-2.0"
    try:
        head = (folder / "README.md").read_text("utf-8")[:4000] if folder else ""
    except (OSError, UnicodeDecodeError):
        return ""
    found = re.search(r"^license:\s*([\w.+-]{1,60})\s*$", head, re.MULTILINE)
    return found[1] if found else ""
