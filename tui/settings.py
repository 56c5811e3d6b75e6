"""What the interface remembers between starts: theme, dataset, names typed. A small JSON file in the home.
Nothing in it is precious: an unreadable file is replaced by the defaults, and reading never raises."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from engine.core.files import write_whole
from store.home import Home


@dataclass(frozen=True, slots=True)
class Settings:
    """`theme` empty means: chosen by what the terminal can do. `keymap` maps a binding id of tui.keys to keys.

    `when_done` is a command that is started when a run, an export or another job ends, with one line on it as its last
    argument, such as `notify-send Tuningfork`; empty starts none. `remote` is `on` where `tuningfork remote` may drive
    the app. `identity` is what was last typed into the form of that name, as JSON.
    """

    theme: str = ""
    dataset: str = ""
    name: str = "Ember"
    author: str = "Northwind Labs"
    when_done: str = ""
    remote: str = ""
    identity: str = ""
    keymap: dict[str, str] | None = None


def path(home: Home) -> Path:
    """Where the settings of a home are."""
    return home.root / "settings.json"


def load(home: Home) -> Settings:
    """The settings of a home; the defaults for whatever is missing or of the wrong type."""
    try:
        found = json.loads(path(home).read_text("utf-8"))
    except (OSError, ValueError):
        return Settings()
    return Settings(**_usable(found)) if isinstance(found, dict) else Settings()


def save(home: Home, settings: Settings) -> None:
    """Write the file in one rename. Raises OSError when the home cannot be written."""
    write_whole(path(home), json.dumps(asdict(settings), indent=2, ensure_ascii=True) + "\n")


def _usable(found: dict[str, Any]) -> dict[str, Any]:
    usable: dict[str, Any] = {}
    for field in fields(Settings):
        value = found.get(field.name)
        if field.name == "keymap":
            if isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
                usable["keymap"] = value
        elif isinstance(value, str):
            usable[field.name] = value
    return usable
