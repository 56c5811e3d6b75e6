"""Rows of known names with values of any kind, and files of any bytes: each is kept or refused, and nothing breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import importing
from store.db import Store
from store.errors import UserError
from store.formats import Problem, Row, open_file, read
from store.formats.fields import Fields
from store.home import Home
from tests.store.corpus import generate

NAMES = [
    "instruction", "input", "output", "response", "question", "answer", "prompt", "completion", "messages",
    "conversations", "chosen", "rejected", "rejected_response", "preferred_output", "non_preferred_output", "label",
    "kto_tag", "rating", "history", "system", "context", "tools", "images", "weight", "role", "content", "from",
    "value",
]  # fmt: skip
words = st.sampled_from(
    ["", " ", "q", "{{name}}", "{{ x }}", "<image>", "[", "[{'role': 1}]", '{"messages": 3}', "5/0", "nan"]
)
plain = (
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | words | st.sampled_from(["user", "assistant", "gpt"])
)
message = st.dictionaries(
    st.sampled_from(["role", "from", "content", "value", "weight", "train", "name"]), plain, max_size=4
)
value = st.recursive(
    plain | message | st.lists(message, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
row = st.dictionaries(st.sampled_from(NAMES), value, max_size=6) | value
many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@many
@given(st.lists(row, min_size=1, max_size=4))
def test_rows_of_any_values(tmp_path_factory: Any, rows: list[Any]) -> None:
    path = tmp_path_factory.mktemp("odd") / "odd.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in rows))
    try:
        found = list(read(open_file(path)))
    except UserError:
        return
    assert sum(isinstance(each, Row | Problem) for each in found) == len(found)
    for each in found:
        if isinstance(each, Row) and isinstance(each.value, dict):
            said = {name for name, (_, what) in Fields(each.value)._values.items() if what not in (None, "", [], {})}
            assert set(map(str.lower, each.unread)) & set(NAMES) <= said


@many
@given(st.binary(max_size=300), st.sampled_from(["", ".jsonl", ".json", ".csv", ".tsv", ".parquet", ".gz", ".zst"]))
def test_files_of_any_bytes(tmp_path_factory: Any, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.mktemp("bytes") / f"file{suffix}"
    path.write_bytes(data)
    try:
        list(read(open_file(path)))
    except UserError as error:
        assert error.where and error.todo


def test_damaged_files_are_refused_or_accounted_for(home: Home, tmp_path: Path) -> None:
    """The corpus with bytes cut off, flipped or doubled: no traceback, and the sums hold."""
    import random

    draw = random.Random(11)
    (tmp_path / "files").mkdir()
    with Store.open(home) as store:
        for file in generate(tmp_path / "files", 150, 3):
            data = bytearray(file.path.read_bytes())
            at = draw.randrange(len(data))
            how = draw.randrange(3)
            if how == 0:
                del data[at:]
            elif how == 1:
                data[at] ^= 1 << draw.randrange(8)
            else:
                data[at:at] = data[at : at + 9]
            file.path.write_bytes(bytes(data))
            try:
                report = importing.import_files(store, [file.path], dataset="d")
            except UserError as error:
                assert error.where and error.todo
            else:
                assert report.read == report.kept + report.duplicates + report.rejected
