"""What the user says about a file: which column is what, tags, drafts, splits; folders and patterns; our own form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from store import datasets, edits, feedback, pairs, query, votes
from store.db import Store
from store.errors import BadInput, Unsupported
from store.formats.mapped import read_mapping
from store.importing import export_dataset, import_files
from store.records import PairDraft, Split, Turn


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_columns_are_mapped_joined_and_reached(store: Store, tmp_path: Path) -> None:
    rows = [
        {"Title": "T", "Body": "B", "reply": {"text": "R", "by": "x"}, "labels": "a, b", "fold": "dev", "sys": "S"},
        {"Title": "U", "Body": "", "reply": {"text": ""}, "labels": ["c"], "fold": "training"},
        {"Title": None, "Body": None, "reply": {"text": "no question"}, "fold": "test"},
        {"Title": "V", "reply": {"text": "R"}, "fold": "fifth"},
    ]
    mapping = read_mapping(["question=title+Body,answer=reply.text", "system=sys,tags=labels,split=fold"])
    report = import_files(store, [written(tmp_path / "x.jsonl", *rows)], dataset="d", mapping=mapping)
    found = [(p.question, p.answer, p.system, p.tags, p.status, split) for p, split in
             datasets.members(store, "d", status=None)]  # fmt: skip
    assert found == [
        ("T\nB", "R", "S", ("a", "b"), "ready", "val"),
        ("U", "", "", ("c",), "draft", "train"),
    ]
    assert [(each.line, each.field) for each in report.problems] == [(3, "question"), (4, "split")]


def test_a_table_with_any_header_and_messages(store: Store, tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    table.write_text("Frage,Antwort\nWer?,Ich.\n")
    import_files(store, [table], dataset="d", mapping=read_mapping(["question=Frage,answer=Antwort"]))
    talk = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    file = written(tmp_path / "y.jsonl", {"log": {"turns": talk}})
    import_files(store, [file], dataset="d", mapping=read_mapping(["messages=log.turns"]))
    assert [pair.question for pair, _ in datasets.members(store, "d")] == ["Wer?", "Q"]


@pytest.mark.parametrize(
    ("mapping", "what"),
    [
        ("question", "is not FIELD=COLUMN"),
        ("questoin=a", "no field 'questoin'"),
        ("question=a,question=b", "mapped twice"),
        ("answer=a", "no question"),
        ("messages=a,question=b", "messages and question"),
        ("question=Titel,answer=Body", "no column 'Titel'"),
    ],
)
def test_a_wrong_mapping_is_refused(store: Store, tmp_path: Path, mapping: str, what: str) -> None:
    file = written(tmp_path / "x.jsonl", {"Title": "T", "Body": "B"})
    with pytest.raises(BadInput, match=what) as caught:
        import_files(store, [file], dataset="d", mapping=read_mapping([mapping]))
    assert caught.value.todo and not edits.edits(store)


def test_tags_drafts_and_a_split_column_of_known_rows(store: Store, tmp_path: Path) -> None:
    rows = [{"question": f"Q{n}", "answer": "A", "set": name} for n, name in enumerate(("train", "validation", "test"))]
    import_files(store, [written(tmp_path / "x.jsonl", *rows)], dataset="d", split="set", tags=("t",), as_draft=True)
    found = [(p.tags, p.status, split) for p, split in datasets.members(store, "d", status=None)]
    assert found == [(("t",), "draft", split) for split in ("train", "val", "test")]
    assert datasets.pinned(store, "d") == {"val": 1, "test": 1}
    with pytest.raises(BadInput, match="neither a split nor a column"):
        import_files(store, [tmp_path / "x.jsonl"], dataset="d", split="fold")


def test_a_split_column_counts_for_preferences_and_feedback_too(store: Store, tmp_path: Path) -> None:
    file = written(
        tmp_path / "x.jsonl",
        *({"prompt": f"P{n}", "chosen": "A", "rejected": "B", "set": name} for n, name in enumerate(("train", "val"))),
        *({"prompt": f"F{n}", "completion": "A", "label": True, "set": name} for n, name in enumerate(("val", "test"))),
        {"prompt": "P9", "chosen": "A", "rejected": "B", "set": ""},
    )
    report = import_files(store, [file], dataset="d", split="set")
    assert (report.preferences, report.feedback, report.rejected, report.not_read) == (2, 2, 1, {})
    splits: tuple[Split, ...] = ("train", "val", "test")
    assert [len(votes.preferences(store, "d", split)) for split in splits] == [1, 1, 0]
    assert [len(feedback.list_feedback(store, "d", split)) for split in splits] == [0, 1, 1]


def test_folders_and_patterns(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for n, name in enumerate(("a.jsonl", "deep/b.json", "deep/c.txt")):
        written(tmp_path / "in" / name, {"question": f"Q{n}", "answer": "A"})
    (tmp_path / "in" / ".hidden").write_text("x")
    report = import_files(store, [tmp_path / "in"], dataset="d")
    assert report.kept == 2 and report.notices == ["Not read in the folder in: c.txt."]
    assert import_files(store, [str(tmp_path / "in" / "*" / "*.txt")], dataset="d").kept == 1
    with pytest.raises(BadInput, match="finds no file"):
        import_files(store, [tmp_path / "*.csv"], dataset="d")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="is a folder"):
        import_files(store, [tmp_path / "empty"], dataset="d")


def test_our_own_form_brings_everything_back(store: Store, tmp_path: Path) -> None:
    turns = (Turn("user", "Hi"), Turn("assistant", "Ho", train=False))
    for draft, split in (
        (PairDraft("Q", "A", "S", turns, "identity", "ready", ("a b", "c")), "val"),
        (PairDraft("  bare ", "", status="draft"), "train"),
        (PairDraft("No", "way", status="rejected"), "test"),
    ):
        pairs.create(store, draft, dataset="one", split=split)  # type: ignore[arg-type]
    file = tmp_path / "x.jsonl"
    assert export_dataset(store, "one", "tuningfork", file, status=None) == 3

    def state(name: str) -> list[Any]:
        return [
            (p.question, p.answer, p.system, p.history, p.kind, p.status, p.tags, split)
            for p, split in datasets.members(store, name, status=None)
        ]

    before = state("one")
    pairs.delete(store, query.uids(store))
    assert import_files(store, [file], dataset="two").kept == 3
    assert state("two") == before


def test_export_writes_what_was_asked_for(store: Store, tmp_path: Path) -> None:
    for n in range(4):
        draft = PairDraft(f"Q{n}", "A", kind="identity" if n % 2 else "instruction", tags=("t",) if n > 1 else ())
        pairs.create(store, draft, dataset="d")
    pairs.create(store, PairDraft("turns", "A", history=(Turn("user", "x"), Turn("assistant", "y"))), dataset="d")
    assert export_dataset(store, "d", "csv", tmp_path / "a.csv", where="kind:identity tag:t") == 1
    with pytest.raises(Unsupported, match="1 of 5 pairs have earlier turns, which csv cannot hold"):
        export_dataset(store, "d", "csv", tmp_path / "b.csv")
    assert not (tmp_path / "b.csv").exists()
