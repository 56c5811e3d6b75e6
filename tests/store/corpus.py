"""A corpus of small files in every format and wrapper, made from a seed: what importing has to cope with.

Each file comes with what is in it: how many rows, and for each field of a row whether it is one that is read, one that
must be counted as not read, or one that makes the row impossible to use.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass
class CorpusFile:
    """One generated file. `extra` says in how many usable rows each field that nothing reads stands."""

    path: Path
    rows: int
    bad: int
    pairs: int
    preferences: int
    feedback: int
    extra: Counter[str] = field(default_factory=Counter)


@dataclass
class _Made:
    """One row: what it is written as and what must become of it: pair, preference, feedback or bad."""

    record: Record
    becomes: str
    extra: tuple[str, ...] = ()


def _words(draw: random.Random, n: int = 6) -> str:
    said = [
        "moon",
        "где",
        "模型",
        "naïve",
        'say "hi"',
        "a, b",
        "x; y",
        "C++",
        "👍",
        "{{ x }}",
        "\\frac{{a}}",
        "it's",
        "line",
    ]
    return " ".join(draw.choice(said) for _ in range(draw.randint(1, n))) + f" {draw.randint(0, 10**9)}"


def _messages(draw: random.Random, who: str, said: str, roles: tuple[str, str, str]) -> list[Record]:
    turns = []
    if draw.random() < 0.4:
        turns.append({who: roles[0], said: _words(draw)})
    for _ in range(draw.randint(1, 3)):
        turns += [{who: roles[1], said: _words(draw)}, {who: roles[2], said: _words(draw)}]
    return turns


def _alpaca(draw: random.Random) -> Record:
    row = {"instruction": _words(draw), "output": _words(draw)}
    for name in ("input", "system", "context"):
        if draw.random() < 0.3:
            row[name] = _words(draw)
    return row


def _dolly(draw: random.Random) -> Record:
    return {"instruction": _words(draw), "context": _words(draw), "response": _words(draw)}


def _columns(draw: random.Random) -> Record:
    asked = draw.choice(["prompt", "question", "query"])
    row = {asked: _words(draw), draw.choice(["completion", "response", "answer", "output"]): _words(draw)}
    for name in ("system_prompt", "input", "context"):
        if draw.random() < 0.3:
            row[name] = _words(draw)
    return row


def _openai(draw: random.Random) -> Record:
    row: Record = {"messages": _messages(draw, "role", "content", ("system", "user", "assistant"))}
    if len(row["messages"]) > 3 and draw.random() < 0.5:
        first = next(turn for turn in row["messages"] if turn["role"] == "assistant")
        first["weight"] = 0
    return row


def _sharegpt(draw: random.Random) -> Record:
    return {"conversations": _messages(draw, "from", "value", ("system", "human", "gpt"))}


def _preference(draw: random.Random) -> Record:
    names = draw.choice([("chosen", "rejected"), ("chosen_response", "rejected_response"), ("output", "rejected")])
    row = {draw.choice(["prompt", "question", "instruction"]): _words(draw)}
    row |= {name: f"{n} {_words(draw)}" for n, name in enumerate(names)}
    if draw.random() < 0.3:
        row["system"] = _words(draw)
    return row


def _preference_messages(draw: random.Random) -> Record:
    asked = [{"role": "user", "content": _words(draw)}]
    answers = [[{"role": "assistant", "content": f"{n} {_words(draw)}"}] for n in range(2)]
    return {"prompt": asked, "chosen": answers[0], "rejected": answers[1]}


def _judged(draw: random.Random) -> Record:
    row = draw.choice([_alpaca, _columns])(draw)
    name, value = draw.choice(
        [
            ("label", False),
            ("label", True),
            ("kto_tag", "false"),
            ("is_good", False),
            ("thumbs_up", True),
            ("is_bad", True),
        ]
    )
    return row | {name: value}


_FLAT = {"alpaca": _alpaca, "dolly": _dolly, "columns": _columns, "preference": _preference, "judged": _judged}
_NESTED = {"openai": _openai, "sharegpt": _sharegpt, "preference_messages": _preference_messages}
_SORT = {"preference": "preference", "preference_messages": "preference", "judged": "feedback"}
_EXTRA = ["id", "category", "score", "source", "lang", "tokens", "Split", "difficulty", "meta data"]


def _bad(draw: random.Random, flat: bool) -> Record:
    kinds: list[Record] = [
        {"instruction": _words(draw), "output": ""},
        {"instruction": "", "output": _words(draw)},
        {"instruction": "<image> What is it?", "output": _words(draw)},
        {"instruction": _words(draw), "output": _words(draw), "image": "cat.png"},
        {"prompt": _words(draw), "chosen": "same", "rejected": "same"},
        {"colour": "red", "size": draw.randint(0, 9)},
    ]
    nested: list[Record] = [
        {"messages": []},
        {"messages": [{"role": "user", "content": _words(draw)}]},
        {"messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}]},
        {"instruction": [1], "output": _words(draw)},
        {"instruction": "q", "output": "a", "tools": [{"name": "search"}]},
        {"instruction": "q", "output": True},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": None}]},
    ]
    return draw.choice(kinds if flat else kinds + nested)


def _row(draw: random.Random, shapes: list[str], flat: bool, odd: float) -> _Made:
    if draw.random() < odd:
        return _Made(_bad(draw, flat), "bad")
    shape = draw.choice(shapes)
    record = (_FLAT | _NESTED)[shape](draw)
    extra = tuple(draw.sample(_EXTRA, draw.randint(0, 2)))
    for name in extra:
        record[name] = draw.choice([draw.randint(1, 9), "x", 0.5])
    if draw.random() < 0.3:
        record["empty"] = draw.choice([None, ""])  # nothing in it: need not be counted
    items = list(record.items())
    draw.shuffle(items)
    return _Made(dict(items), _SORT.get(shape, "pair"), extra)


# -- ways to store rows ------------------------------------------------------------------------------------------------


def _jsonl(draw: random.Random, rows: list[Record]) -> bytes:
    end = draw.choice(["\n", "\r\n", ",\n", "\n\n"])
    return end.join(json.dumps(row, ensure_ascii=draw.random() < 0.5) for row in rows).encode() + draw.choice(
        [b"", b"\n"]
    )


def _json(draw: random.Random, rows: list[Record]) -> bytes:
    return json.dumps(rows, indent=draw.choice([None, 1, 2]), ensure_ascii=draw.random() < 0.5).encode()


def _wrapped(draw: random.Random, rows: list[Record]) -> bytes:
    inner: Any = {draw.choice(["data", "rows", "examples"]): rows}
    if draw.random() < 0.3:
        inner = {"result": inner}
    return json.dumps(inner, indent=draw.choice([None, 2])).encode()


def _stream(draw: random.Random, rows: list[Record]) -> bytes:
    return "\n".join(json.dumps(row, indent=2) for row in rows).encode()


def _csv(draw: random.Random, rows: list[Record]) -> bytes:
    out = io.StringIO()
    out.write(draw.choice(["", "", "\n", "# made by hand\n", "\r\n"]))
    names = list(dict.fromkeys(name for row in rows for name in row))
    quoting = draw.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
    writer = csv.writer(out, delimiter=draw.choice(",;\t"), quoting=quoting, lineterminator=draw.choice(["\n", "\r\n"]))
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if row.get(name) is None else row[name] for name in names])
    return out.getvalue().encode()


def _parquet(draw: random.Random, rows: list[Record]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: dict[str, Any] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        columns[name] = [None if v is None else str(v) for v in values] if len(kinds) > 1 else values
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _zstd(data: bytes) -> bytes:
    import pyarrow

    return bytes(pyarrow.Codec("zstd").compress(data, asbytes=True))


_WRITERS: dict[str, tuple[Callable[[random.Random, list[Record]], bytes], tuple[str, ...], bool]] = {
    "jsonl": (_jsonl, (".jsonl", ".json", ".txt", ""), False),
    "json": (_json, (".json", ".jsonl"), False),
    "wrapped": (_wrapped, (".json",), False),
    "stream": (_stream, (".json", ".jsonl"), False),
    "csv": (_csv, (".csv", ".tsv"), True),
    "parquet": (_parquet, (".parquet", ".bin"), True),
}
_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".zst": _zstd, ".bz2": bz2.compress, ".xz": lzma.compress,
}  # fmt: skip


def generate(folder: Path, files: int, seed: int) -> list[CorpusFile]:
    """Writes `files` files into `folder`; the same seed gives the same files."""
    return [_file(folder, n, random.Random(seed * 100_003 + n)) for n in range(files)]


def _file(folder: Path, n: int, draw: random.Random) -> CorpusFile:
    how = draw.choice(list(_WRITERS))
    write, suffixes, flat = _WRITERS[how]
    shapes = list(_FLAT) if flat else list(_FLAT | _NESTED)
    shapes = shapes if draw.random() < 0.3 else [draw.choice(shapes)]  # mixed rows, or all alike
    odd = draw.choice([0.0, 0.0, 0.2])
    made = [_row(draw, shapes, flat, 0.0)] + [_row(draw, shapes, flat, odd) for _ in range(draw.randint(0, 12))]
    data = write(draw, [each.record for each in made])
    if how not in ("parquet",) and draw.random() < 0.25:
        data = b"\xef\xbb\xbf" + data
    suffix = draw.choice(suffixes)
    if draw.random() < 0.3:
        ending = draw.choice(list(_COMPRESSORS))
        data, suffix = _COMPRESSORS[ending](data), suffix + draw.choice([ending, ending, ""])
    path = folder / f"{n:03}-{how}{suffix}"
    path.write_bytes(data)
    becomes = Counter(each.becomes for each in made)
    extra = Counter(name for each in made if each.becomes != "bad" for name in each.extra)
    return CorpusFile(
        path, len(made), becomes["bad"], becomes["pair"], becomes["preference"], becomes["feedback"], extra
    )
