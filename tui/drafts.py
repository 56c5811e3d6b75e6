"""Texts that were typed but not saved, one small JSON file each, so that a crash or a lost terminal loses nothing.
Plain files beside the store, not in it: an unsaved text must survive a busy or damaged store too."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from store.files import replacing
from store.home import Home
from store.records import Turn

NEW = "new"
"""The key of a new pair, which has no uid yet."""
CHAT = "chat"
"""The key of a pair made from an answer in Compare."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What the editor's fields held. `revision` is the pair's when typing began, 0 for a new pair; `history` is
    None in a draft that was written before earlier turns could be edited."""

    key: str
    question: str
    answer: str
    system: str
    tags: str
    kind: str
    status: str
    revision: int = 0
    at: int = 0
    history: tuple[Turn, ...] | None = None


def folder(home: Home) -> Path:
    """Where the drafts of a home are."""
    return home.root / "drafts"


def save(home: Home, draft: Draft) -> None:
    """Write a draft in one rename. Raises OSError when the home cannot be written."""
    target = _path(home, draft.key)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    fields = asdict(draft) | {"at": int(time.time() * 1000)}
    with replacing(target, 0o600) as part:
        part.write_text(json.dumps(fields, ensure_ascii=True), "utf-8")


def load(home: Home, key: str) -> Draft | None:
    """The draft with this key; None when there is none or it cannot be read."""
    try:
        fields = json.loads(_path(home, key).read_text("utf-8"))
        if fields.get("history") is not None:
            fields["history"] = tuple(Turn(**turn) for turn in fields["history"])
        return Draft(**fields)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def drop(home: Home, key: str) -> None:
    """Delete a draft, if there is one."""
    _path(home, key).unlink(missing_ok=True)


def keys(home: Home) -> set[str]:
    """The uids (and NEW) that have a draft."""
    return {path.stem for path in folder(home).glob("*.json")} if folder(home).is_dir() else set()


def _path(home: Home, key: str) -> Path:
    if not key.isalnum():
        raise ValueError(f"{key!r} is not a draft key")
    return folder(home) / f"{key}.json"
