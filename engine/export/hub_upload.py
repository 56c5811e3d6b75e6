"""Uploads an export to a repository on the Hugging Face hub: lists what would leave this machine, and sends it.
The only place that sends files away; imports huggingface_hub only then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.export import listing
from engine.models.refs import is_hub_name
from store import exports
from store.db import Store
from store.errors import BadInput, Conflict, NotFound, ServerError, TuningforkError, UserError
from store.records import Export


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """One file that would leave this machine, and what it is called there."""

    name: str
    path: Path
    bytes: int


def find(store: Store, text: str) -> Export:
    """The export with this id, or that lies at this path: its folder or its file.

    Raises NotFound, or Conflict when it is not finished or failed its verification.
    """
    listing.sweep(store)
    if text.isascii() and text.isdigit():
        export = exports.get(store, int(text))
    else:
        wanted = Path(text).expanduser().resolve()
        hits = [e for e in exports.all_exports(store) if wanted in _places(store, e)]
        if not hits:
            raise NotFound(f"No export lies at {wanted}.", todo="List them: tuningfork exports list")
        export = hits[0]
    if export.state != "done":
        reason = {"working": "is being made", "rejected": "failed its verification"}.get(
            export.state, "was never finished"
        )
        todo = f"See why: tuningfork exports show {export.id}"
        raise Conflict(f"The export {export.id} {reason}, so it stays here.", todo=todo)
    return export


def _places(store: Store, export: Export) -> list[Path]:
    path = store.home.absolute(export.path)
    own = [place for place in listing.files_of(store.home, export) if place.is_dir()]
    return [place.resolve() for place in (path, *own)]


def outgoing(store: Store, export: Export) -> list[OutgoingFile]:
    """Every file that `push` would send, by name. NotFound when they are gone from the disk."""
    found = []
    for place in listing.files_of(store.home, export):
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                name = path.relative_to(place).as_posix() if place.is_dir() else path.name
                found.append(OutgoingFile(name, path, path.stat().st_size))
    if not found:
        raise NotFound(f"The files of export {export.id} are gone.", where=str(store.home.absolute(export.path)))
    return found


def check_repo(repo: str) -> str:
    """`repo` itself, if it is OWNER/NAME; else BadInput."""
    if not is_hub_name(repo):
        raise BadInput(f"{repo!r} is not OWNER/NAME.", where="--to", todo="Write it like ember-labs/ember-1-gguf.")
    return repo


def push(files: Sequence[OutgoingFile], repo: str, *, private: bool, message: str, api: Any = None) -> str:
    """Create the repository unless it exists, and send the files in one commit; returns its address.

    Blocks for as long as it takes. Raises UserError without a token or the right to write there, and ServerError when
    the hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = api or HfApi()
    try:
        api.whoami()
        url = api.create_repo(repo, private=private, exist_ok=True)
        operations = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file.path)) for file in files]
        api.create_commit(repo, operations, commit_message=message)
    except Exception as error:
        known = _explained(error, repo)
        if known is None:
            raise
        raise known from error
    return str(url)


def _explained(error: Exception, repo: str) -> TuningforkError | None:
    """Our error for one of the hub or of the network, or None for an unknown one."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, LocalTokenNotFoundError) or status == 401:
        todo = "Log in with a token that has write access: hf auth login   (or set HF_TOKEN)"
        return UserError("There is no token for the Hugging Face hub, or it is not valid.", todo=todo)
    if isinstance(error, OfflineModeIsEnabled):
        return UserError("The hub is switched off here (HF_HUB_OFFLINE).", todo="Unset HF_HUB_OFFLINE and try again.")
    if status in (403, 404):
        return UserError(
            f"This token may not write to {repo}.", todo="Use a token with write access, or another owner."
        )
    if isinstance(error, HfHubHTTPError):
        said = next(iter(str(error).splitlines()), type(error).__name__)
        return ServerError(f"The hub refused: {said}", where=repo, todo="Try again later.")
    if type(error).__module__.startswith("httpx") or isinstance(error, ConnectionError | TimeoutError):
        return ServerError("The Hugging Face hub cannot be reached.", where=repo, todo="Check the network; try again.")
    return None
