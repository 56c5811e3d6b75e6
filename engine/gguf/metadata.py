"""What an exported GGUF file says of itself: names, licence and where it comes from.
No path of this machine goes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import gguf


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """The general.* keys, and `facts` under tuningfork.*: run, step, snapshot, date."""

    name: str
    base: str = ""
    licence: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def write_metadata(writer: gguf.GGUFWriter, about: FileMetadata) -> None:
    """Add the keys to a file being written."""
    writer.add_name(about.name)
    if about.licence:
        writer.add_license(about.licence)
    if about.base:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, about.base)
    for key, value in about.facts.items():
        writer.add_string(f"tuningfork.{key}", value)
