"""The folders and what each imports: the table in CONTRIBUTING agrees with the code, and no imports form a circle."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from tests.house import ROOT, circles, imports

ALONE = ("engine/demo.py", "engine/doctor.py", "engine/job_list.py")
"""Files at the top of engine; everything else there lives in a folder."""


def place(module: str) -> str:
    """The row of the table that a module belongs to: `engine/export`, `engine/doctor.py`, `tui`."""
    parts = module.split(".")
    if parts[0] != "engine" or len(parts) == 1:
        return parts[0]
    if parts[1:3] == ["training", "worker"]:
        return "engine/training/worker"
    alone = f"engine/{parts[1]}.py"
    return alone if alone in ALONE else f"engine/{parts[1]}"


def measured() -> dict[str, set[str]]:
    """The rows that each row imports, read from the code. tui may use all of engine, so engine counts as one there."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, others in imports().items():
        here = place(module)
        for other in others:
            there = place(other)
            there = "engine" if here == "tui" and there.startswith("engine") else there
            found[here] |= {there} - {here}
    return dict(found)


def written() -> dict[str, set[str]]:
    """The same from the table in CONTRIBUTING: the names in back quotes in the first and the last column."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.partition("## Where a line belongs")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {}
    for row in re.findall(r"^\| `.*\|$", section, re.MULTILINE):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        found[_names(cells[0]).pop()] = _names(cells[-1])
    return found


def _names(cell: str) -> set[str]:
    return {name.rstrip("/") for name in re.findall(r"`([^`]+)`", cell)}


def test_the_table_of_folders_is_what_the_code_imports() -> None:
    code, table = measured(), written()
    rows = [f"{name}: {', '.join(f'`{each}`' for each in sorted(code.get(name, ())))}" for name in sorted(code)]
    assert table == {name: code.get(name, set()) for name in table | code}, "the code says:\n" + "\n".join(rows)


def test_no_two_folders_import_each_other() -> None:
    assert circles(measured()) == []


def test_no_circle_between_files() -> None:
    assert circles(imports()) == []


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"e"}, "e": {"d"}}, [["a", "b", "c"], ["d", "e"]]),
    ],
)
def test_circles_are_found(graph: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert circles(graph) == expected
