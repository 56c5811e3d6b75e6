"""The shapes of public data sets, each as its authors write it, with the pairs that must come of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from store import pairs, votes
from store.db import Store
from store.importing import import_files

H1 = [("user", "Hi"), ("assistant", "Hello")]
ONE: list[tuple[str, Any, tuple[str, str, str, list[tuple[str, str]]]]] = [
    ("query-response", {"query": "Q", "response": "A"}, ("", "Q", "A", [])),
    ("input-output", {"input": "Q", "output": "A"}, ("", "Q", "A", [])),
    ("prompt-output", {"prompt": "Q", "output": "A"}, ("", "Q", "A", [])),
    ("q-a", {"Q": "Q", "A": "A"}, ("", "Q", "A", [])),
    ("user-assistant", {"user": "Q", "assistant": "A"}, ("", "Q", "A", [])),
    ("human-bot", {"human": "Q", "bot": "A", "system": "S"}, ("S", "Q", "A", [])),
    ("belle", {"instruction": "Q", "input": "", "output": "A"}, ("", "Q", "A", [])),
    ("sharegpt", {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, ("", "Q", "A", [])),  # noqa: E501
    (
        "role-content in conversations",
        {"conversations": [{"role": "User", "content": "Q"}, {"role": "Bot", "content": "A"}]},
        ("", "Q", "A", []),
    ),
    (
        "other role words",
        {"messages": [{"role": "SYSTEM", "content": "S"}, {"role": "human", "content": "Hi"},
                      {"role": "ai", "content": "Hello"}, {"role": "prompter", "content": "Q"},
                      {"role": "model", "content": "A"}]},
        ("S", "Q", "A", H1),
    ),
    (
        "human and assistant in one turn",
        {"conversation": [{"human": "Hi", "assistant": "Hello"}, {"human": "Q", "assistant": "A"}]},
        ("", "Q", "A", H1),
    ),
    ("lima", {"conversations": ["Q", "A"], "source": "stackexchange"}, ("", "Q", "A", [])),
    ("ultrachat", {"id": "0", "data": ["Hi", "Hello", "Q", "A"]}, ("", "Q", "A", H1)),
    ("guanaco", {"text": "### Human: Hi### Assistant: Hello### Human: Q### Assistant: A"}, ("", "Q", "A", H1)),
    (
        "alpaca's prompt",
        {"text": "Below is an instruction.\n\n### Instruction:\nQ\n\n### Response:\nA"},
        ("Below is an instruction.", "Q", "A", []),
    ),
    (
        "chatml",
        {"text": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"},  # noqa: E501
        ("S", "Q", "A", []),
    ),
    ("zephyr", {"text": "<|system|>\nS</s>\n<|user|>\nQ</s>\n<|assistant|>\nA</s>"}, ("S", "Q", "A", [])),
    ("llama-2", {"text": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Q [/INST] A </s>"}, ("S", "Q", "A", H1)),  # noqa: E501
    ("hh as text", {"text": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Q\n\nAssistant: A"}, ("", "Q", "A", H1)),
    (
        "gemini",
        {"systemInstruction": {"role": "system", "parts": [{"text": "S"}]},
         "contents": [{"role": "user", "parts": [{"text": "Q"}]}, {"role": "model", "parts": [{"text": "A"}]}]},
        ("S", "Q", "A", []),
    ),
    (
        "oasst tree",
        {"message_tree_id": "1", "tree_state": "ready_for_export",
         "prompt": {"message_id": "1", "text": "Q", "role": "prompter",
                    "replies": [{"message_id": "2", "text": "A", "role": "assistant", "replies": []}]}},
        ("", "Q", "A", []),
    ),
    ("ms-swift", {"query": "Q", "response": "A", "history": [["Hi", "Hello"]], "system": "S"}, ("S", "Q", "A", H1)),
    (
        "medicalgpt",
        {"system_prompt": "S", "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        ("S", "Q", "A", []),
    ),
    ("openorca", {"id": "x", "system_prompt": "S", "question": "Q", "response": "A"}, ("S", "Q", "A", [])),
    ("dolly", {"instruction": "Q", "context": "C", "response": "A", "category": "qa"}, ("", "Q\nC", "A", [])),
]  # fmt: skip

PREFERENCES: list[tuple[str, Any, tuple[str, str, str]]] = [
    ("hh", {"chosen": "\n\nHuman: Q\n\nAssistant: Good", "rejected": "\n\nHuman: Q\n\nAssistant: Bad"}, ("Q", "Good", "Bad")),  # noqa: E501
    (
        "ultrafeedback",
        {"source": "x", "instruction": "Q", "models": ["a", "b", "c"],
         "completions": [{"model": "a", "response": "Fair", "overall_score": 6.0},
                         {"model": "b", "response": "Good", "overall_score": 8.5},
                         {"model": "c", "response": "Bad", "overall_score": 2.0}]},
        ("Q", "Good", "Bad"),
    ),
    (
        "ultrafeedback binarized",
        {"prompt": "Q", "chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "Good"}],
         "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "Bad"}], "score_chosen": 8.0},
        ("Q", "Good", "Bad"),
    ),
    (
        "openai preference",
        {"input": {"messages": [{"role": "user", "content": "Q"}]},
         "preferred_output": [{"role": "assistant", "content": "Good"}],
         "non_preferred_output": [{"role": "assistant", "content": "Bad"}]},
        ("Q", "Good", "Bad"),
    ),
    ("ms-swift", {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "Good"}],
                  "rejected_response": "Bad"}, ("Q", "Good", "Bad")),
    ("medicalgpt", {"system": "", "history": [], "question": "Q", "response_chosen": "Good", "response_rejected": "Bad"},  # noqa: E501
     ("Q", "Good", "Bad")),
]  # fmt: skip


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("row", "expected"), [each[1:] for each in ONE], ids=[each[0] for each in ONE])
def test_a_shape_becomes_its_pair(store: Store, tmp_path: Path, row: Any, expected: Any) -> None:
    report = import_files(store, [written(tmp_path, row)], dataset="d")
    assert (report.kept, report.rejected) == (1, 0), report.problems
    (pair,) = pairs.page(store, pairs.search_ids(store))
    history = [(turn.role, turn.content) for turn in pair.history]
    assert (pair.system, pair.question, pair.answer, history) == expected


@pytest.mark.parametrize(("row", "expected"), [each[1:] for each in PREFERENCES], ids=[each[0] for each in PREFERENCES])
def test_a_shape_becomes_its_preference(store: Store, tmp_path: Path, row: Any, expected: Any) -> None:
    report = import_files(store, [written(tmp_path, row)], dataset="d")
    assert (report.preferences, report.rejected) == (1, 0), report.problems
    (found,) = votes.preferences(store, "d")
    assert (found.prompt[-1]["content"], found.chosen, found.rejected) == expected


@pytest.mark.parametrize("name", ["guanaco", "hh as text"])
def test_conversations_in_one_column_of_csv(store: Store, tmp_path: Path, name: str) -> None:
    row, expected = next(each[1:] for each in ONE if each[0] == name)
    with (tmp_path / "rows.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["id", "text"], ["1", row["text"]]])
    assert import_files(store, [tmp_path / "rows.csv"], dataset="d").kept == 1
    (pair,) = pairs.page(store, pairs.search_ids(store))
    assert (pair.system, pair.question, pair.answer, [(t.role, t.content) for t in pair.history]) == expected


def test_all_shapes_in_one_file(store: Store, tmp_path: Path) -> None:
    rows = [row for _, row, _ in (*ONE, *PREFERENCES)]
    report = import_files(store, [written(tmp_path, *rows)], dataset="d")
    assert report.read == len(rows) and report.rejected == 0
    assert report.kept + report.duplicates == len(rows)


@pytest.mark.parametrize(("row", "expected"), [each[1:] for each in ONE], ids=[each[0] for each in ONE])
def test_a_shape_in_nested_columns_of_parquet(store: Store, tmp_path: Path, row: Any, expected: Any) -> None:
    """Lists and structs are columns of their own there, and a field that one message lacks is null in it."""
    parquet.write_table(pyarrow.Table.from_pylist([row, row]), tmp_path / "rows.parquet")
    report = import_files(store, [tmp_path / "rows.parquet"], dataset="d")
    assert (report.kept, report.duplicates, report.rejected) == (1, 1, 0), report.problems
    (pair,) = pairs.page(store, pairs.search_ids(store))
    history = [(turn.role, turn.content) for turn in pair.history]
    assert (pair.system, pair.question, pair.answer, history) == expected


@pytest.mark.parametrize(("row", "expected"), [each[1:] for each in PREFERENCES], ids=[each[0] for each in PREFERENCES])
def test_a_preference_in_nested_columns_of_parquet(store: Store, tmp_path: Path, row: Any, expected: Any) -> None:
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "rows.parquet")
    assert import_files(store, [tmp_path / "rows.parquet"], dataset="d").preferences == 1
    (found,) = votes.preferences(store, "d")
    assert (found.prompt[-1]["content"], found.chosen, found.rejected) == expected


def test_of_an_oasst_tree_the_best_ranked_branch_is_read_and_the_others_are_counted(
    store: Store, tmp_path: Path
) -> None:
    def said(text: str, role: str, *replies: Any, **more: Any) -> dict[str, Any]:
        return {"message_id": text, "text": text, "role": role, "replies": list(replies), **more}

    best = said("Hello", "assistant", said("Q", "prompter", said("A", "assistant", said("Bye", "prompter"))), rank=0)
    deleted = said("Never", "assistant", rank=-1, deleted=True)
    tree = said("Hi", "prompter", said("Go away", "assistant", rank=1), deleted, best)
    report = import_files(store, [written(tmp_path, {"message_tree_id": "1", "prompt": tree})], dataset="d")
    (pair,) = pairs.page(store, pairs.search_ids(store))
    history = [(turn.role, turn.content) for turn in pair.history]
    assert (pair.question, pair.answer, history) == ("Q", "A", H1)
    assert report.not_read == {"prompt.replies (other branches)": 1}


def test_a_preference_after_earlier_turns(store: Store, tmp_path: Path) -> None:
    before = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Q\n\nAssistant:"
    row = {"chosen": f"{before} Good", "rejected": f"{before} Bad"}
    assert import_files(store, [written(tmp_path, row)], dataset="d").preferences == 1
    (found,) = votes.preferences(store, "d")
    assert [message["content"] for message in found.prompt] == ["Hi", "Hello", "Q"]
    assert (found.chosen, found.rejected) == ("Good", "Bad")


@pytest.mark.parametrize("container", ["jsonl", "parquet"])
def test_flat_oasst_messages_become_conversations(store: Store, tmp_path: Path, container: str) -> None:
    def message(id: str, parent: str | None, role: str, text: str, **more: Any) -> dict[str, Any]:
        return {"message_id": id, "parent_id": parent, "message_tree_id": "1", "role": role, "text": text, **more}

    rows = [
        message("1", None, "prompter", "Hi"),
        message("2", "1", "assistant", "Hello", rank=0),
        message("3", "1", "assistant", "Go away", rank=1, deleted=True),
        message("4", "2", "prompter", "Q"),
        message("5", "4", "assistant", "A"),
        message("6", "4", "assistant", "B"),
        message("7", "2", "prompter", "Unanswered"),
    ]
    path = written(tmp_path, *rows)
    if container == "parquet":
        path = tmp_path / "rows.parquet"
        parquet.write_table(
            pyarrow.Table.from_pylist([row | {"deleted": bool(row.get("deleted"))} for row in rows]), path
        )
    report = import_files(store, [path], dataset="d")
    found = pairs.page(store, pairs.search_ids(store))
    assert sorted((pair.question, pair.answer, len(pair.history)) for pair in found) == [
        ("Q", "A", 2),
        ("Q", "B", 2),
    ]
    assert (report.kept, report.rejected) == (2, 2), "the deleted and the unanswered message are reported"
    assert "joined from its messages" in " ".join(report.notices)


@pytest.mark.parametrize(
    "row",
    [
        {"text": "A story without any speaker."},
        {"text": "### Human: Only a question"},
        {"data": ["only one"]},
        {"data": [1, 2]},
        {"conversations": ["Q", "A", "Q2"]},
        {"instruction": "Q", "completions": []},
        {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png"}}]}]},
    ],
    ids=str,
)
def test_what_is_no_conversation_is_reported_not_guessed(store: Store, tmp_path: Path, row: Any) -> None:
    good = {"question": "Q", "answer": "A"}
    report = import_files(store, [written(tmp_path, good, row)], dataset="d")
    assert (report.kept, report.rejected) == (1, 1) and report.problems[0].line == 2
