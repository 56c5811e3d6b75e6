"""`python -m engine.hf_data.reader REQUEST`: reads a Hugging Face data set and writes its rows as JSON lines, a file a
split. The only process that imports datasets; it runs no code of a data set, and ends with the one that started it.

It streams: one batch at a time is in memory, and nothing but its files is left on the disk. It sends

    {"about": {"splits", "files", "bytes", "revision", "host"}}    what is not known is null; then it waits for leave
    {"rows"}                                               twice a second, also while nothing comes from the hub
    {"split", "file", "rows"}, {"note"}                    a split that is written, and what was decided on the way
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.core import child
from store.db import translated
from store.errors import BadInput, NotFound, ServerError, TuningforkError, Unsupported, UserError
from store.files import replacing

_BATCH = 1_000
_EVERY_S = 0.5
_HUB_S = 20.0
"""How long the hub may take for its first answer, in seconds."""
_HUB = "hf://datasets/"
_MEDIA = {
    "Image": "images are", "Audio": "sounds are", "Video": "videos are", "Pdf": "PDF documents are",
    "Nifti": "medical images are", "Mesh": "meshes are",
}  # fmt: skip
"""Feature types of datasets whose values are no text."""


def main() -> int:
    """Read the request, the one argument; the exit code."""
    return child.report_errors(lambda: _Reading(json.loads(sys.argv[1])).run(), _described)


class _Reading:
    """One request: {"ref", "short", "name", "folder", "saved", "revision", "config", "into", "splits", "limit"}.

    `splits` null is all of them; with a `limit`, so many rows of one split are read, train if there is one.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._ref = str(request["ref"])
        self._limit: int | None = request["limit"]
        self._rows = 0
        self._notes: set[str] = set()
        self._sending = threading.Lock()
        self._ended = threading.Event()
        self._pulse = threading.Thread(target=self._tell, name="tells the rows", daemon=True)

    def run(self) -> None:
        """Read and write all of it. Raises our errors only where the data set or the network is to blame."""
        self._pulse.start()
        try:
            with _Named(self._ref, bool(self._request["folder"])):
                self._read()
        finally:
            self._ended.set()
            self._pulse.join()

    def _read(self) -> None:
        import datasets

        _forbid_addresses(self._ref)
        datasets.disable_progress_bars()
        found = self._saved(datasets) if self._request["saved"] else self._streamed(datasets)
        child.wait_for_leave()  # what is fetched from where is said before it is
        wanted = self._request["splits"]
        names = [name for name in found if wanted is None or name in wanted]
        if self._limit is not None:
            names = ["train"] if "train" in names else names[:1]
        for name in names:
            _refuse_media(self._ref, name, found[name].features)
        for name in names:
            self._write(name, found[name])

    def _saved(self, datasets: Any) -> Mapping[str, Any]:
        folder = str(self._request["folder"])
        if self._request["config"]:
            todo = "Leave out what follows the colon."
            raise BadInput("A data set that was saved to disk has no configs.", where=self._ref, todo=todo)
        loaded = datasets.load_from_disk(folder)
        one = not isinstance(loaded, datasets.DatasetDict)
        found = {str(loaded.split or "train"): loaded} if one else dict(loaded)
        self._send(
            about={
                "splits": {name: data.num_rows for name, data in found.items()},
                "files": sum(1 for _ in Path(folder).rglob("*.arrow")),
                "bytes": sum(each.stat().st_size for each in Path(folder).rglob("*.arrow")),
                "revision": None,
            }
        )
        return found

    def _streamed(self, datasets: Any) -> Mapping[str, Any]:
        folder, revision = self._request["folder"], self._request["revision"]
        path = str(folder or self._request["name"])
        if not folder:
            _ask_hub(path, revision)
        builder = datasets.load_dataset_builder(path, name=self._config(datasets, path), revision=revision)
        if hasattr(builder.config, "batch_size"):  # Parquet: else a whole row group is in memory, several times
            builder.config.batch_size = _BATCH
        files = {str(name): list(found) for name, found in (builder.config.data_files or {}).items()}
        _refuse_outside(self._ref, [each for found in files.values() for each in found], folder)
        known = builder.info.splits or {}
        self._send(
            about={
                "splits": {name: known[name].num_examples if name in known else None for name in files},
                "files": len({each for found in files.values() for each in found}),
                "bytes": _size(files, folder),
                "revision": None if folder else _revision(files),
                "host": None if folder else _host(),
            }
        )
        found: Mapping[str, Any] = builder.as_streaming_dataset()
        return {str(name): found[name] for name in found}

    def _config(self, datasets: Any, path: str) -> str | None:
        """The config that was asked for, or the one to take without one. BadInput lists them when it must be named."""
        asked: str | None = self._request["config"]
        revision = self._request["revision"]
        names = [str(name) for name in datasets.get_dataset_config_names(path, revision=revision)]
        listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        if asked is None:
            usual: str | None = datasets.get_dataset_default_config_name(path, revision=revision)
            if usual is None and len(names) > 1:
                where = self._ref if self._ref.startswith("hf:") else f"hf:{path}"
                todo = f"Name one of them, such as {where}:{names[0]}. It has: {listed}."
                raise BadInput(f"The data set has {len(names)} configs.", where=self._ref, todo=todo)
            return usual
        if asked not in names:
            raise BadInput(f"The data set has no config {asked!r}.", where=self._ref, todo=f"It has: {listed}.")
        return asked

    def _write(self, name: str, data: Any) -> None:
        short = re.sub(r"[^\w.-]", "_", f"{self._request['short']}.{name}")
        path = Path(self._request["into"]) / f"{short}.jsonl"
        before = self._rows
        with translated(path, OSError), replacing(path) as part, part.open("w", encoding="utf-8") as file:
            for row in self._values(data):
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
                self._rows += 1
                if self._limit is not None and self._rows >= self._limit:
                    break
        self._send(split=name, file=str(path), rows=self._rows - before)

    def _values(self, data: Any) -> Iterator[dict[str, Any]]:
        """The rows of a split: classes by their names, columns of bytes left out."""
        import pyarrow

        features = data.features or {}
        classes = {name: list(each.names) for name, each in features.items() if type(each).__name__ == "ClassLabel"}
        for name in classes:
            self._note(f"{name}: the names of its classes are read, not their numbers")
        for table in _read_apart(data.with_format("arrow").iter(batch_size=_BATCH)):
            raw = [field.name for field in table.schema if _has_bytes(pyarrow, field.type)]
            for name in raw:
                self._note(f"{name}: it holds bytes, which are not read")
            for row in table.drop_columns(raw).to_pylist():
                for name, names in classes.items():
                    at = row.get(name)
                    row[name] = names[at] if isinstance(at, int) and 0 <= at < len(names) else None
                yield row

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.add(note)
            self._send(note=note)

    def _send(self, **message: Any) -> None:
        with self._sending:
            child.send(message)

    def _tell(self) -> None:
        """Send the rows twice a second: the parent can stop this process, and its end is noticed, at any time."""
        while not self._ended.wait(_EVERY_S):
            try:
                self._send(rows=self._rows)
            except KeyboardInterrupt:  # no one reads any more
                os._exit(1)


class _ReadingFailed(Exception):
    """An error of the system while a data set was read. Not an OSError, which says that its rows cannot be written."""


def _read_apart(tables: Iterable[Any]) -> Iterator[Any]:
    """The tables of a split; an OSError, as which the hub's errors come too, becomes _ReadingFailed."""
    try:
        yield from tables
    except OSError as error:
        raise _ReadingFailed(str(error)) from error


def _refuse_media(ref: str, split: str, features: Mapping[str, Any] | None) -> None:
    for name, feature in (features or {}).items():
        if what := next((_MEDIA[each] for each in _types(feature) if each in _MEDIA), None):
            raise Unsupported(
                f"The column {name} (split {split}): {what} not supported: a row is text alone.",
                where=ref,
                todo="Save the data set without that column (remove_columns), and import that.",
            )


def _types(feature: Any) -> Iterator[str]:
    """The names of the types in a feature: those of its fields and items too."""
    if isinstance(feature, dict):
        for inner in feature.values():
            yield from _types(inner)
    elif isinstance(feature, list):
        for inner in feature:
            yield from _types(inner)
    else:
        yield type(feature).__name__
        if (inner := getattr(feature, "feature", None)) is not None:
            yield from _types(inner)


def _has_bytes(pyarrow: Any, kind: Any) -> bool:
    if pyarrow.types.is_nested(kind):
        return any(_has_bytes(pyarrow, kind.field(n).type) for n in range(kind.num_fields))
    return bool(
        pyarrow.types.is_binary(kind)
        or pyarrow.types.is_large_binary(kind)
        or pyarrow.types.is_fixed_size_binary(kind)
        or pyarrow.types.is_binary_view(kind)
    )


def _forbid_addresses(ref: str) -> None:
    """Let no web address that a README names be asked: datasets looks at files while it lists them."""
    import fsspec

    class Forbidden(fsspec.AbstractFileSystem):  # type: ignore[misc]
        @classmethod
        def _strip_protocol(cls, path: Any) -> str:
            raise _outside(ref, str(path))

        def __init__(self, *_: object, **__: object) -> None:
            raise _outside(ref, "a web address")

    for protocol in ("http", "https", "ftp"):
        fsspec.register_implementation(protocol, Forbidden, clobber=True)


def _outside(ref: str, file: str) -> BadInput:
    todo = "Download that file yourself, look at it, and import it."
    return BadInput(f"The data set names a file outside of it ({file[:200]}).", where=ref, todo=todo)


def _refuse_outside(ref: str, files: list[str], folder: str | None) -> None:
    """BadInput when a data set's README names data elsewhere: only what the user named is read."""
    for file in files:
        inside = Path(file).resolve().is_relative_to(Path(folder).resolve()) if folder else file.startswith(_HUB)
        if not inside:
            raise _outside(ref, file)


def _revision(files: Mapping[str, list[str]]) -> str | None:
    """The commit that hub addresses name: hf://datasets/ORG/NAME@COMMIT/PATH."""
    found = re.match(rf"{_HUB}[^@]+@([0-9a-f]{{40}})/", next(iter(files.values()))[0]) if files else None
    return found[1] if found else None


def _ask_hub(name: str, revision: str | None) -> None:
    """Ask for the data set once: without a network, datasets would try for 24 s before it said so."""
    import huggingface_hub

    huggingface_hub.HfApi().dataset_info(name, revision=revision, timeout=_HUB_S)


def _host() -> str:
    import huggingface_hub

    return str(huggingface_hub.constants.ENDPOINT).partition("://")[2]


def _size(files: Mapping[str, list[str]], folder: str | None) -> int | None:
    """The bytes of all files; None when the hub does not say."""
    names = sorted({each for found in files.values() for each in found})
    if folder:
        return sum(Path(name).stat().st_size for name in names)
    import huggingface_hub

    try:
        system = huggingface_hub.HfFileSystem()
        return sum(int(system.info(name)["size"]) for name in names[:200]) if len(names) <= 200 else None
    except Exception:  # it is only said beforehand: what is wrong with the hub shows when the rows are read
        return None


# -- what went wrong ---------------------------------------------------------------------------------------------------


class _Named:
    """Turns what datasets and the hub raise into our errors, with the data set's name."""

    def __init__(self, ref: str, local: bool) -> None:
        self._ref, self._local = ref, local

    def __enter__(self) -> _Named:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, TuningforkError):
            raise (self._known(error) or self._unreadable(error)) from error

    def _known(self, error: Exception) -> TuningforkError | None:
        chain = list(_chain(error))
        names = {base.__name__ for each in chain for base in type(each).__mro__}
        said = " ".join(str(each) for each in chain)
        if "scripts are no longer supported" in said:
            todo = f"Its tables may be there as Parquet: {self._ref.partition('@')[0]}@refs/convert/parquet"
            what = "The data set is read by code of its own, which Tuningfork never runs."
            return Unsupported(what, where=self._ref, todo=todo)
        if self._local:
            return None
        if "OfflineModeIsEnabled" in names or "OfflineModeIsEnabled" in said:
            what = "The Hugging Face hub is switched off here (HF_HUB_OFFLINE)."
            return UserError(what, where=self._ref, todo="Unset HF_HUB_OFFLINE, or import a folder with the data.")
        if names & {"DatasetNotFoundError", "RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError"}:
            todo = "Check its name and revision. A private or gated one needs access and a token: hf auth login"
            return NotFound("The hub shows no such data set.", where=self._ref, todo=todo)
        if names & {"EmptyDatasetError", "DataFilesNotFoundError"}:
            return None
        unreached = names & {"ConnectionError", "TransportError", "TimeoutError"}
        if not unreached and names & {"HfHubHTTPError", "HTTPError", "HTTPStatusError"}:
            return ServerError(f"The hub refused: {_line(error)}.", where=self._ref, todo="Try again later.")
        if unreached or names & {"RequestException", "ClientError"}:
            todo = "Check the network and try again, or import a folder with the data."
            return ServerError("The Hugging Face hub cannot be reached.", where=self._ref, todo=todo)
        return None

    def _unreadable(self, error: Exception) -> TuningforkError:
        todo = "Check the folder, or import its files themselves, such as 'FOLDER/*.jsonl'."
        hub = "Download its files and import those."
        what = f"The data set cannot be read ({_line(next(reversed(list(_chain(error)))))})."
        return BadInput(what, where=self._ref, todo=todo if self._local else hub)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".")


def _described(error: BaseException) -> str:
    return f"Reading the data set failed ({type(error).__name__}: {_line(error)})."


if __name__ == "__main__":
    sys.exit(main())
