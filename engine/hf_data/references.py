"""What is a Hugging Face data set: the reference hf:ORG/NAME, and the folders that are one. Which split becomes which.
Looks at names and small files only; the data is read by reader.py."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from store.errors import BadInput
from store.formats.fields import Wrong
from store.formats.tuningfork import split_named
from store.records import SPLITS, Split

PREFIX = "hf:"
"""What a reference to a data set begins with."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_REVISION = re.compile(r"[\w./-]+")
_CONFIG = re.compile(r"[\w.+-]+")
_SHARD = re.compile(r"[\w.-]+-\d{5}-of-\d{5}\.(parquet|jsonl?|csv|tsv)(\.(gz|zst|bz2|xz))?")
_CARD = 65_536  # bytes of a README that are looked at
_CARD_MARK = re.compile(r"^(configs|dataset_info):", re.MULTILINE)
_TODO = "Write it like hf:org/name, hf:org/name@revision or hf:org/name:config."


@dataclass(frozen=True, slots=True)
class DataSetRef:
    """One Hugging Face data set: a folder of this machine, or a repository of the hub at a revision."""

    name: str
    """ORG/NAME on the hub, or what the user typed of the folder's path."""
    folder: Path | None = None
    revision: str | None = None
    config: str | None = None

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{'' if self.folder else PREFIX}{self.name}{at}{f':{self.config}' if self.config else ''}"

    @property
    def short(self) -> str:
        """Its name without the organisation or the folders above it: a name for a dataset."""
        return self.folder.resolve().name if self.folder else self.name.rpartition("/")[2]


def is_reference(text: str) -> bool:
    """Whether a text is written as a reference, and not as a path."""
    return text.strip().startswith(PREFIX)


def find(text: str) -> DataSetRef | None:
    """The data set that an argument of an import means; None for an ordinary file, folder or pattern.

    `hf:ORG/NAME[@REVISION][:CONFIG]` is one of the hub; `hf:./FOLDER[:CONFIG]`, with a path that begins with a dot, a
    slash or ~, a folder that is read as one; so is a folder that looks like one. BadInput for another word after hf:.
    """
    if is_reference(text):
        return _parse(text.strip().removeprefix(PREFIX), text)
    folder = Path(text).expanduser()
    return DataSetRef(text, folder) if folder.is_dir() and is_data_set(folder) else None


def _parse(rest: str, text: str) -> DataSetRef:
    if rest.startswith((".", "/", "~")):
        path, config = rest, None
        if not Path(rest).expanduser().is_dir() and ":" in rest:
            path, _, config = rest.rpartition(":")
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise BadInput("There is no such folder.", where=text, todo="Check the path.")
        return DataSetRef(path, folder, None, config)
    rest, colon, config = rest.partition(":")
    name, at, revision = rest.partition("@")
    for found, given, form, what in (
        (name, True, _HUB_NAME, "name of a data set"),
        (revision, at, _REVISION, "revision"),
        (config, colon, _CONFIG, "config"),
    ):
        if given and not form.fullmatch(found):
            raise BadInput(f"{found!r} is not a {what}.", where=text, todo=_TODO)
    return DataSetRef(name, None, revision or None, config or None)


def is_saved(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote this folder: one split, or several."""
    one = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return one or (folder / "dataset_dict.json").is_file()


def is_data_set(folder: Path) -> bool:
    """Whether a folder is a data set that was saved to disk, or has the layout of the hub: a README.md that lists its
    configs or splits, or shards such as train-00000-of-00002.parquet in it or in data/."""
    if is_saved(folder):
        return True
    card = folder / "README.md"
    try:
        if card.is_file():
            with card.open("rb") as file:
                head = file.read(_CARD).decode(errors="replace")
            if head.startswith("---") and _CARD_MARK.search(head.split("\n---", 1)[0]):
                return True
        return any(
            _SHARD.fullmatch(each.name)
            for place in (folder, folder / "data")
            if place.is_dir()
            for each in place.iterdir()
        )
    except OSError:
        return False


# -- which split becomes which -----------------------------------------------------------------------------------------


def split_pairs(text: str) -> dict[str, Split] | None:
    """`train_sft=train,test_sft=val` as a mapping of a data set's splits to ours; None for a text without `=`.

    BadInput for a part without =, or a split that is none of ours.
    """
    if "=" not in text:
        return None
    found: dict[str, Split] = {}
    for part in text.split(","):
        theirs, equals, ours = (each.strip() for each in part.partition("="))
        if not (theirs and equals) or ours not in SPLITS:
            todo = f"Write it like validation=val,test=test; ours are {', '.join(SPLITS)}."
            raise BadInput(f"{part.strip()!r} is not THEIRS=OURS.", where="--split", todo=todo)
        found[theirs] = ours
    return found


def our_split(name: str) -> tuple[Split, bool]:
    """The split of ours that a data set's split becomes, and whether its name says so.

    train_sft is train and dev is val, by the first word of the name that means a split; a name without one is train.
    """
    for word in (name, *re.split(r"[^A-Za-z]+", name)):
        try:
            return split_named(word), True
        except Wrong:
            continue
    return "train", False


def check_named(wanted: Mapping[str, Split], there: Sequence[str], ref: DataSetRef) -> None:
    """BadInput when a split is asked for that the data set does not have."""
    if missing := [name for name in wanted if name not in there]:
        raise BadInput(
            f"The data set has no split {missing[0]!r}.", where=str(ref), todo=f"It has: {', '.join(there)}."
        )
