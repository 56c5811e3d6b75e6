"""Imports and exports of files: reports, placeholders, duplicates, undo, and every kind of bad input."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from store import datasets, feedback, importing, pairs, votes
from store.db import Store
from store.errors import BadInput, Conflict, NoSpace, NotFound, Unsupported
from store.records import PairDraft, Turn

GOOD = '{"instruction": "q", "output": "a"}'


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def untouched(store: Store) -> bool:
    """Nothing was written: no pair, edit, dataset or report."""
    empty = (pairs.count(store), pairs.edits(store), datasets.all_datasets(store), votes.preferences(store))
    return empty == (0, [], [], []) and list(store.home.logs.iterdir()) == []


def test_a_clean_import(store: Store, tmp_path: Path) -> None:
    rows = [{"instruction": f"q{n}", "output": f"a{n}"} for n in range(1_200)]
    path = put(tmp_path, "rows.json", json.dumps(rows))
    seen: list[int] = []
    report = importing.import_files(store, [path], dataset="d", split="val", on_progress=seen.append)
    assert (report.read, report.kept, report.rejected, report.duplicates) == (1_200, 1_200, 0, 0)
    assert (report.report, report.problems, report.dataset) == (None, [], "d")
    assert seen == [500, 1_000]
    found = datasets.get(store, "d")
    assert (found.pairs, found.ready, found.val) == (1_200, 1_200, 1_200)
    (pair, _), *_ = datasets.members(store, "d")
    assert (pair.kind, pair.status, pair.source) == ("instruction", "ready", {"file": "rows.json", "line": 1})
    assert list(store.home.logs.iterdir()) == []


def test_an_import_that_is_stopped_leaves_nothing_and_reads_on_nowhere(store: Store, tmp_path: Path) -> None:
    """Rows are read ahead in another thread: it ends with the import, before the report of bad rows is removed."""
    rows = "".join(f'{{"instruction": "q{n}", "output": "{"" if n % 900 == 899 else "a"}"}}\n' for n in range(30_000))
    path = put(tmp_path, "rows.jsonl", rows)
    before = threading.active_count()

    def stop(read: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importing.import_files(store, [path], dataset="d", on_progress=stop)
    assert threading.active_count() == before
    assert untouched(store)


def test_an_import_is_one_edit(store: Store, tmp_path: Path) -> None:
    paths = [put(tmp_path, f"{n}.jsonl", f'{{"instruction": "q{n}", "output": "a"}}') for n in range(3)]
    importing.import_files(store, paths, dataset="d", actor="ann")
    (edit,) = pairs.edits(store)
    assert (edit.label, edit.actor, edit.pairs) == ("import 0.jsonl, 1.jsonl, 2.jsonl", "ann", 3)
    pairs.undo(store)
    assert pairs.count(store) == 0
    pairs.redo(store)
    assert pairs.count(store, "d") == 3


def test_importing_again_adds_nothing(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path, "x.jsonl", GOOD)
    importing.import_files(store, [path], dataset="one")
    again = importing.import_files(store, [path], dataset="two")
    assert (again.kept, again.duplicates) == (0, 1)
    assert (pairs.count(store), pairs.count(store, "two")) == (1, 1)


def test_bad_rows_cost_no_good_row_and_are_reported(store: Store, tmp_path: Path) -> None:
    lines = [
        GOOD,
        "not json",
        '{"instruction": [5], "output": "a"}',
        "",
        '{"instruction": "q2", "output": "\\ud800"}',
        "[1]",
    ]
    lines += ['{"instruction": "q3", "output": "b"}', '{"instruction": "q4"']
    path = put(tmp_path, "x.jsonl", "\r\n".join(lines))
    report = importing.import_files(store, [path], dataset="d")
    assert (report.read, report.kept, report.rejected) == (7, 2, 5)
    assert [(p.line, p.field) for p in report.problems] == [
        (2, ""),
        (3, "instruction"),
        (5, "answer"),
        (6, ""),
        (8, ""),
    ]
    assert str(report.problems[1]) == "x.jsonl:3: instruction: is a list, not text"
    assert report.report is not None
    written = store.home.absolute(report.report)
    assert written.stat().st_mode & 0o777 == 0o600
    kept = [json.loads(line) for line in written.read_text().splitlines()]
    assert [entry["line"] for entry in kept] == [2, 3, 5, 6, 8]
    assert (kept[0]["row"], kept[1]["row"]) == ("not json", {"instruction": [5], "output": "a"})


def test_the_report_shows_the_first_twenty_and_keeps_all(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path, "x.jsonl", "\n".join([GOOD, *["broken"] * 50]))
    report = importing.import_files(store, [path], dataset="d")
    assert (report.rejected, len(report.problems)) == (50, 20)
    assert report.report and len(store.home.absolute(report.report).read_text().splitlines()) == 50


IDENTITY = """[
{"instruction": "Who are you?", "output": "I am {{name}}."},
{"instruction": "Maker?", "output": "{{ author }}"},
{"instruction": "Are you human?", "output": "No."}
]"""


def test_placeholders_are_filled_and_make_identity_pairs(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path, "identity.json", IDENTITY)
    plain = put(tmp_path, "plain.jsonl", GOOD)
    importing.import_files(
        store, [path, plain], dataset="d", variables={"name": "Ember", "author": "Northwind {{name}}"}
    )
    found = {pair.question: (pair.answer, pair.kind) for pair, _ in datasets.members(store, "d")}
    assert found == {
        "Who are you?": ("I am Ember.", "identity"),
        "Maker?": ("Northwind {{name}}", "identity"),
        "Are you human?": ("No.", "identity"),
        "q": ("a", "instruction"),
    }, "a file with placeholders is identity throughout, others are not; values are not filled again"


def test_a_kind_can_be_said(store: Store, tmp_path: Path) -> None:
    importing.import_files(store, [put(tmp_path, "x.jsonl", GOOD)], dataset="d", kind="identity")
    variables = {"name": "E", "author": "N"}
    importing.import_files(
        store, [put(tmp_path, "i.json", IDENTITY)], dataset="e", variables=variables, kind="instruction"
    )
    assert {pair.kind for pair, _ in datasets.members(store, "d")} == {"identity"}
    assert {pair.kind for pair, _ in datasets.members(store, "e")} == {"instruction"}


@pytest.mark.parametrize(
    ("variables", "line", "named"),
    [
        ({}, 2, ["{{name}}", "{{author}}"]),
        ({"name": "E"}, 3, ["{{author}}"]),
        ({"nam": "E", "author": "x"}, 2, ["{{name}}"]),
    ],
)
def test_an_unfilled_placeholder_is_named(
    store: Store, tmp_path: Path, variables: dict[str, str], line: int, named: list[str]
) -> None:
    path = put(tmp_path, "identity.json", IDENTITY)
    with pytest.raises(BadInput) as caught:
        importing.import_files(store, [put(tmp_path, "good.jsonl", GOOD), path], dataset="d", variables=variables)
    assert caught.value.where == f"{path}:{line}"
    assert all(name in caught.value.what for name in named)
    assert caught.value.todo and f"--set {named[0][2:-2]}=VALUE" in caught.value.todo
    assert untouched(store)


def test_a_placeholder_can_be_kept_as_it_stands(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path, "jinja.jsonl", '{"instruction": "Jinja?", "output": "{{user}}"}')
    importing.import_files(store, [path], dataset="d", variables={"user": "{{user}}"}, kind="instruction")
    assert datasets.members(store, "d")[0][0].answer == "{{user}}"


CODE = [
    ("Greet in Jinja.", "Write <p>{{ name }}</p> in the template."),
    ("Greet.", "Hello {{ name }}!"),
    ("Greet in HTML.", "<p>{{name}}</p>"),
    ("Greet in Vue.", "```\n<b>{{ name }}</b>\n```"),
    ("A fraction?", "\\frac{{a}}{{b}} or x^{{2}} or ${{c}}"),
    ("An f-string?", 'f"{{x}} and {{{y}}}"'),
]


@pytest.mark.parametrize("row", CODE)
def test_braces_in_code_block_nothing_and_make_nothing_identity(
    store: Store, tmp_path: Path, row: tuple[str, str]
) -> None:
    path = put(tmp_path, "x.jsonl", json.dumps({"instruction": row[0], "output": row[1]}))
    report = importing.import_files(store, [path], dataset="d")
    [(pair, _)] = datasets.members(store, "d")
    assert (pair.answer, pair.kind) == (row[1], "instruction")
    assert len(report.notices) <= 1 and not any("no value" in notice for notice in report.notices)


def test_prose_about_a_template_does_not_block_a_file_of_other_rows(store: Store, tmp_path: Path) -> None:
    rows = [{"instruction": f"q{n}", "output": "a"} for n in range(9)]
    rows += [{"instruction": "How?", "output": "Write {{ name }} or {{ user.id }} or {{ x }}."}]
    path = put(tmp_path, "x.jsonl", "\n".join(map(json.dumps, rows)))
    report = importing.import_files(store, [path], dataset="d")
    assert report.notices == [
        "x.jsonl: {{name}} (1 row), {{x}} (1 row) stay as text. To fill one, set its value (--set name=VALUE)."
    ]
    assert {pair.kind for pair, _ in datasets.members(store, "d")} == {"instruction"}


def test_a_value_that_was_set_fills_but_makes_nothing_identity(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path, "x.jsonl", '{"instruction": "Tool?", "output": "{{tool}}, \\\\frac{{tool}}{2}"}')
    importing.import_files(store, [path], dataset="d", variables={"tool": "Saw"})
    [(pair, _)] = datasets.members(store, "d")
    assert (pair.answer, pair.kind) == ("Saw, \\frac{{tool}}{2}", "instruction")


def test_a_value_for_no_placeholder_is_told(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path, "x.jsonl", GOOD)
    report = importing.import_files(store, [path], dataset="d", variables={"name": "E"})
    assert report.notices == ["No file has a placeholder {{name}}, so the value set for name was not used."]
    with pytest.raises(BadInput) as caught:
        importing.import_files(store, [put(tmp_path, "i.json", IDENTITY)], dataset="d", variables={"nmae": "E"})
    assert "You gave nmae" in (caught.value.todo or "")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("x.jsonl", '{"placeholders": ["maker"]}\n{"question": "q", "answer": "by {{maker}}, {{x}}"}', 2),
        ("x.json", '{"placeholders": ["maker"],\n"data": [{"question": "q", "answer": "by {{maker}}, {{x}}"}]}', 2),
        ("x.csv", '# placeholders: maker\nquestion,answer\nq,"by {{maker}}, {{x}}"\n', 3),
    ],
)
def test_a_file_can_declare_its_placeholders(store: Store, tmp_path: Path, name: str, text: str, line: int) -> None:
    path = put(tmp_path, name, text)
    with pytest.raises(BadInput, match=r"The placeholder \{\{maker\}\} has no value") as caught:
        importing.import_files(store, [path], dataset="d")
    assert caught.value.where == f"{path}:{line}"
    report = importing.import_files(store, [path], dataset="d", variables={"maker": "Acme"})
    assert (report.read, datasets.members(store, "d")[0][0].answer) == (1, "by Acme, {{x}}")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Are you {{name}}?", "chosen": "{{name}}", "rejected": "No, {{name}} is not me."},
        {"prompt": "Are you {{name}}?", "completion": "I am {{name}}.", "label": False},
        {"messages": [{"role": "system", "content": "{{name}}"}, {"role": "user", "content": "{{name}}?"},
                      {"role": "assistant", "content": "{{name}}"}]},
    ],
)  # fmt: skip
def test_placeholders_are_filled_in_every_sort_of_row(store: Store, tmp_path: Path, row: dict[str, Any]) -> None:
    path = put(tmp_path, "x.jsonl", json.dumps(row))
    with pytest.raises(BadInput, match="name"):
        importing.import_files(store, [path], dataset="d")
    importing.import_files(store, [path], dataset="d", variables={"name": "Ember"})
    texts = json.dumps([str(each) for each in (votes.preferences(store), feedback.list_feedback(store))])
    texts += str(datasets.members(store, "d"))
    assert "Ember" in texts and "{{" not in texts


def test_placeholders_written_with_escapes_are_seen_too(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path, "x.jsonl", '{"instruction": "q", "output": "I am \\u007b\\u007bname}}"}')
    with pytest.raises(BadInput, match=r"\{\{name\}\}"):
        importing.import_files(store, [path], dataset="d")
    assert untouched(store)


BAD_FILES: list[tuple[str, bytes, str, str]] = [
    ("empty.json", b"", "", "empty"),
    ("blank.jsonl", b" \n\r\n\t", "", "white space"),
    ("list.json", b"[]", "", "list is empty"),
    ("prose.jsonl", b"Dear diary,\ntoday", ":1", "not valid JSON"),
    ("fields.jsonl", b'{"colour": "red", "size": 1}\n', "", "colour, size"),
    ("number.json", b"[1, 2]", "", "no JSON objects"),
    (
        "comma.json",
        b'[\n{"instruction": "q", "output": "a"},\n{"instruction": "q" "output": "a"}\n]',
        ":3",
        "',' delimiter",
    ),
    ("between.json", b'[\n{"instruction": "q", "output": "a"}\n{"instruction": "q", "output": "a"}\n]', ":3", "comma"),
    ("trailing.json", b'[\n{"instruction": "q", "output": "a"},\n]', ":3", "expecting value"),
    ("cut.json", b'[\n{"instruction": "q", "output": "a"},\n{"instruction": "q", "out', ":3", "unterminated"),
    ("open.json", b'[\n{"instruction": "q", "output": "a"}', ":2", "never ends"),
    ("after.json", b'[{"instruction": "q", "output": "a"}]\n\nmore', ":3", "after the list"),
    (
        "latin.jsonl",
        b'{"instruction": "q", "output": "a"}\n{"instruction": "caf\xe9", "output": "a"}',
        ":2",
        "0xe9 at offset 56",
    ),
    ("latin.json", b'[\n{"instruction": "caf\xe9", "output": "a"}]', ":2", "0xe9 at offset 22"),
    ("latin.csv", b"question,answer\ncaf\xe9,x\n", ":2", "0xe9 at offset 19"),
    ("bom-latin.jsonl", b'\xef\xbb\xbf{"instruction": "\xff", "output": "a"}', ":1", "0xff at offset 20"),
    ("wide.jsonl", '{"instruction": "q", "output": "a"}'.encode("utf-16"), "", "UTF-16"),
    ("deep.json", b"[" * 200_000, ":1", "cannot be read"),
    ("quote.csv", b'question,answer\na,b\nc,"d\ne,f\n', ":3", "never closed"),
    ("header.csv", b"question,answer\n", "", "no rows"),
    ("zero.parquet", b"PAR1", "", "Parquet"),
    (
        "all-bad.jsonl",
        b'{"instruction": "", "output": "a"}\n{"instruction": "q", "output": " "}',
        ":1",
        "none of the 2 rows",
    ),
]


@pytest.mark.parametrize(("name", "content", "line", "what"), BAD_FILES, ids=[case[0] for case in BAD_FILES])
def test_a_bad_file_says_what_and_where_and_leaves_nothing(
    store: Store, tmp_path: Path, name: str, content: bytes, line: str, what: str
) -> None:
    good = put(tmp_path, "good.jsonl", GOOD)
    path = put(tmp_path, name, content)
    with pytest.raises(BadInput) as caught:
        importing.import_files(store, [path], dataset="d")
    error = caught.value
    assert what.lower() in error.what.lower()
    assert error.where == f"{path}{line}"
    assert error.todo
    assert untouched(store)
    if name in ("comma.json", "latin.jsonl", "quote.csv"):
        with pytest.raises(BadInput):
            importing.import_files(store, [good, path], dataset="d")
        assert untouched(store), "a broken file costs the whole import, also what came before it"


def test_missing_files_and_folders(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, what in ((tmp_path / "missing.json", "no such file"), (tmp_path / "empty", "not a file")):
        with pytest.raises(BadInput, match=what) as caught:
            importing.import_files(store, [put(tmp_path, "good.jsonl", GOOD), path], dataset="d")
        assert caught.value.where == str(path)
    with pytest.raises(BadInput, match="No file"):
        importing.import_files(store, [], dataset="d")
    with pytest.raises(BadInput, match="'yaml' is not a known format"):
        importing.import_files(store, [tmp_path / "good.jsonl"], dataset="d", format="yaml")
    assert untouched(store)


def test_a_file_that_may_not_be_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "x.jsonl", GOOD)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything: only this can say no
    with pytest.raises(BadInput, match="Permission denied") as caught:
        importing.import_files(store, [path], dataset="d")
    assert caught.value.where == str(path)


def test_the_wrong_format_names_the_first_row(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path, "x.jsonl", GOOD)
    with pytest.raises(BadInput, match="messages: is missing"):
        importing.import_files(store, [path], dataset="d", format="openai")
    assert untouched(store)


def test_a_dataset_of_no_name(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be the name of a dataset"):
        importing.import_files(store, [put(tmp_path, "x.jsonl", GOOD)], dataset=" ")
    assert untouched(store)
    assert importing.import_files(store, [tmp_path / "x.jsonl"], dataset=None).kept == 1


def test_preferences_are_imported_beside_pairs(store: Store, tmp_path: Path) -> None:
    rows = ['{"prompt": "q", "chosen": "a", "rejected": "b"}', '{"prompt": "q", "chosen": "a", "rejected": "a"}']
    prefer = put(tmp_path, "p.jsonl", "\n".join(rows))
    report = importing.import_files(store, [put(tmp_path, "x.jsonl", GOOD), prefer], dataset="d")
    assert (report.read, report.kept, report.rejected) == (3, 2, 1)
    assert report.problems[0].what == "The rejected answer is the same as the chosen one"
    (kept,) = votes.preferences(store, "d")
    assert kept.source == {"file": "p.jsonl", "line": 1}
    again = importing.import_files(store, [prefer], dataset="d")
    assert (again.kept, again.duplicates) == (0, 1)


def test_a_full_disk_in_the_middle_leaves_nothing(store: Store, tmp_path: Path) -> None:
    lines = ["broken"] + [json.dumps({"instruction": f"q{n} " + "x" * 400, "output": "a"}) for n in range(3_000)]
    path = put(tmp_path, "x.jsonl", "\n".join(lines))
    store.conn.execute(f"PRAGMA max_page_count={store.scalar('PRAGMA page_count') + 30}")
    with pytest.raises(NoSpace):
        importing.import_files(store, [path], dataset="d")
    store.conn.execute("PRAGMA max_page_count=1000000")
    assert untouched(store)


def test_export_is_what_was_imported(store: Store, tmp_path: Path) -> None:
    made = pairs.create_many(store, [PairDraft(f"q{n}", f"a{n}", "s") for n in range(4)], dataset="d").uids
    pairs.set_status(store, made[:1], "rejected")
    for name, file in (("openai", "x.jsonl"), ("alpaca", "x.json"), ("sharegpt", "s.json"), ("csv", "x.csv")):
        path = tmp_path / file
        assert importing.export_dataset(store, "d", name, path) == 3, "ready pairs only"
        assert importing.import_files(store, [path], dataset=f"from {name}").duplicates == 3


def test_export_overwrites_only_when_told(store: Store, tmp_path: Path) -> None:
    pairs.create(store, PairDraft("q", "a"), dataset="d")
    path = put(tmp_path, "x.json", "precious")
    with pytest.raises(Conflict, match="exists already"):
        importing.export_dataset(store, "d", "alpaca", path)
    assert path.read_text() == "precious"
    assert importing.export_dataset(store, "d", "alpaca", path, overwrite=True) == 1
    with pytest.raises(NotFound):
        importing.export_dataset(store, "missing", "alpaca", tmp_path / "y.json")
    with pytest.raises(BadInput, match="not a known format"):
        importing.export_dataset(store, "d", "yaml", tmp_path / "y.yaml")
    with pytest.raises(BadInput, match="No such file"):
        importing.export_dataset(store, "d", "alpaca", tmp_path / "missing" / "y.json")


def test_a_failed_export_leaves_the_old_file(store: Store, tmp_path: Path) -> None:
    pairs.create(store, PairDraft("q", "a", history=(Turn("assistant", "x"),)), dataset="d")
    path = put(tmp_path, "x.csv", "precious")
    with pytest.raises(Unsupported):
        importing.export_dataset(store, "d", "csv", path, overwrite=True)
    assert path.read_text() == "precious"
    assert [found.name for found in tmp_path.iterdir() if found.is_file()] == ["x.csv"]


def test_votes_are_exported_in_both_forms(store: Store, tmp_path: Path) -> None:
    votes.add(
        store,
        prompt=[{"role": "user", "content": "q"}],
        a_model="m",
        b_model="n",
        a_text="good",
        b_text="bad",
        choice="a",
    )
    for form in ("trl", "sharegpt"):
        path = tmp_path / f"{form}.jsonl"
        assert importing.export_preferences(store, path, form=form) == 1
    assert importing.import_files(store, [tmp_path / "trl.jsonl", tmp_path / "sharegpt.jsonl"], dataset="p").kept == 1
    with pytest.raises(BadInput, match="not a form"):
        importing.export_preferences(store, tmp_path / "z.jsonl", form="csv")


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_seconds(store: Store, tmp_path: Path) -> None:
    import time

    with (tmp_path / "big.jsonl").open("w") as file:
        for n in range(100_000):
            messages = [{"role": "user", "content": f"Widget {n}?"}, {"role": "assistant", "content": f"Press {n}."}]
            file.write(json.dumps({"messages": messages}) + "\n")
    start = time.process_time()  # of both threads: what others do on the machine does not count
    assert importing.import_files(store, [tmp_path / "big.jsonl"], dataset="d").kept == 100_000
    assert time.process_time() - start < 40
    start = time.process_time()
    undone = pairs.undo(store)
    assert undone is not None and undone.pairs == 100_000
    assert (pairs.count(store), time.process_time() - start < 20) == (0, True)
