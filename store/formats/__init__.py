"""The data formats that files come in: which there are, and which one a file is in.
One module per format; what happens to the rows is importing.py's business."""

from __future__ import annotations

from pathlib import Path

from store.errors import BadInput
from store.formats import alpaca, columns, openai, preference, prompt_completion, sharegpt
from store.formats.base import Format, Problem, Row, json_format
from store.formats.placeholders import fill, unfilled
from store.formats.source import objects

__all__ = ["FORMATS", "Format", "Problem", "Row", "fill", "sniff", "unfilled"]

_SHAPES = (preference, openai, sharegpt, alpaca, prompt_completion)  # the most telling fields first
FORMATS: dict[str, Format] = {
    "alpaca": json_format("alpaca", alpaca),
    "openai": json_format("openai", openai),
    "sharegpt": json_format("sharegpt", sharegpt),
    "prompt-completion": json_format("prompt-completion", prompt_completion),
    "csv": Format("csv", (".csv", ".tsv"), columns.read_csv, columns.write_csv),
    "parquet": Format("parquet", (".parquet",), columns.read_parquet, columns.write_parquet),
    "preference": json_format("preference", preference),
}
_NAMES = dict(zip(_SHAPES, ("preference", "openai", "sharegpt", "alpaca", "prompt-completion"), strict=True))
_LOOK_AT = 50


def sniff(path: Path) -> str:
    """The name of the format that `path` is in, by its suffix or the fields of its first rows.

    BadInput when none fits.
    """
    for name in ("csv", "parquet"):
        if path.suffix.lower() in FORMATS[name].suffixes:
            return name
    seen: list[str] = []
    first: Problem | None = None
    for n, found in enumerate(objects(path)):
        if isinstance(found, Problem):
            first = first or found
        elif isinstance(found.value, dict):
            for shape in _SHAPES:
                if shape.recognises(found.value):
                    return _NAMES[shape]
            seen = seen or [str(key) for key in found.value]
        if n >= _LOOK_AT:
            break
    if first and not seen:
        raise BadInput(
            first.what, where=f"{path}:{first.line}", todo="Correct that line, or save the data in another format."
        )
    fields = f"has the fields {', '.join(seen[:8])}" if seen else "has no JSON objects"
    raise BadInput(
        f"{fields}, which is no format that we know",
        where=str(path),
        todo="Known are instruction, output; messages; conversations; prompt, completion; prompt, chosen, rejected.",
    )
