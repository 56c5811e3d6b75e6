"""The licence of a base model, as its own files state it.
Reads the model card beside the weights; never uses the network."""

from __future__ import annotations

import re
from pathlib import Path

from engine.models import default_model


def licence_of(base: str, folder: Path | None) -> str:
    """The base's licence as its own card names it (`license:` at the top of README.md); "" when it is not known."""
    if base == default_model.NAME:
        return default_model.LICENCE
    try:
        head = (folder / "README.md").read_text("utf-8")[:4000] if folder else ""
    except (OSError, UnicodeDecodeError):
        return ""
    found = re.search(r"^license:\s*([\w.+-]{1,60})\s*$", head, re.MULTILINE)
    return found[1] if found else ""
