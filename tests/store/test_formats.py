"""Formats: what is written is read back the same, and each form that others write is understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.canon import content_hash
from store.errors import BadInput, Unsupported
from store.formats import FORMATS, Problem, Row, fill, open_file, read, sniff, unfilled
from store.formats.preference import write_sharegpt
from store.records import Pair, PairDraft, Preference, PreferenceDraft, Turn

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
said = text.filter(str.strip)
exchange = st.tuples(said, said).map(lambda two: (Turn("user", two[0]), Turn("assistant", two[1])))


def pair(question: str, answer: str, system: str = "", history: tuple[Turn, ...] = ()) -> Pair:
    return Pair(1, "u", 1, "instruction", system, history, question, answer, "ready", (), {}, "", 0, 0)


def pairs_with(history: bool) -> st.SearchStrategy[list[Pair]]:
    turns = st.lists(exchange, max_size=2).map(lambda found: tuple(turn for two in found for turn in two))
    one = st.builds(pair, said, said, st.just("") | said, turns if history else st.just(()))
    return st.lists(one, min_size=1, max_size=4)


def same(pairs: list[Pair], rows: list[Row | Problem]) -> bool:
    drafts = [row.draft for row in rows if isinstance(row, Row)]
    read = [pair(d.question, d.answer, d.system, d.history) for d in drafts if isinstance(d, PairDraft)]
    return [one.messages() for one in pairs] == [one.messages() for one in read]


@pytest.mark.parametrize(
    ("name", "suffix", "history"),
    [
        ("alpaca", ".json", True),
        ("alpaca", ".jsonl", True),
        ("openai", ".json", True),
        ("openai", ".jsonl", True),
        ("sharegpt", ".jsonl", True),
        ("prompt-completion", ".jsonl", True),
        ("csv", ".csv", False),
        ("csv", ".tsv", False),
    ],
)
def test_a_round_trip_changes_nothing(tmp_path: Path, name: str, suffix: str, history: bool) -> None:
    path = tmp_path / f"data{suffix}"

    @settings(max_examples=40, deadline=None)
    @given(pairs_with(history))
    def check(pairs: list[Pair]) -> None:
        assert FORMATS[name].write(path, pairs) == len(pairs)
        for format in (name, "auto"):
            assert same(pairs, list(read(open_file(path), format)))
        assert sniff(open_file(path)).name == name

    check()
    assert list(tmp_path.iterdir()) == [path], "no .part is left"


def test_parquet_round_trip(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs the optional package pyarrow")
    pairs = [pair("q ü", "a\n", "s", (Turn("user", "x"), Turn("assistant", "y"))), pair("q2", "a2")]
    path = tmp_path / "data.parquet"
    assert FORMATS["parquet"].write(path, pairs) == 2
    assert sniff(open_file(path)).name == "parquet"
    assert same(pairs, list(read(open_file(path))))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(Unsupported, match="pyarrow"):
        list(read(open_file(path)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(said, said, said).filter(lambda three: three[1] != three[2]), min_size=1, max_size=4))
def test_preferences_round_trip_in_both_forms(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    kept = [Preference([{"role": "user", "content": q}], good, bad, {}, 0) for q, good, bad in rows]
    for write in (FORMATS["preference"].write, write_sharegpt):
        path = tmp_path / "p.jsonl"
        assert write(path, kept) == len(kept)
        assert sniff(open_file(path)).name == "preference"
        drafts = [row.draft for row in read(open_file(path)) if isinstance(row, Row)]
        assert drafts == [PreferenceDraft((Turn("user", q),), good, bad) for q, good, bad in rows]


def read_one(tmp_path: Path, value: Any, format: str = "auto") -> Any:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    (found,) = read(open_file(path), format)
    return found.draft if isinstance(found, Row) else found


U, A = Turn("user", "q"), Turn("assistant", "a")
ASSISTANT = [{"role": "assistant", "content": "a"}]
WORSE = [{"role": "assistant", "content": "b"}]
USER = [{"role": "user", "content": "q"}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"instruction": "q", "output": "a"}, PairDraft("q", "a")),
        ({"instruction": "q", "input": "i", "output": "a"}, PairDraft("q\ni", "a")),
        ({"instruction": "q", "input": None, "output": "a", "system": None, "history": None}, PairDraft("q", "a")),
        ({"instruction": "q", "context": "c", "response": "a", "category": "x"}, PairDraft("q\nc", "a")),
        ({"instruction": "q", "output": "a", "history": [["q", "a"]]}, PairDraft("q", "a", history=(U, A))),
        ({"messages": [{"role": "developer", "content": "s"}, *USER, *ASSISTANT]}, PairDraft("q", "a", "s")),
        ({"messages": [*USER, *ASSISTANT, *USER, *ASSISTANT]}, PairDraft("q", "a", history=(U, A))),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, *ASSISTANT]}, PairDraft("q", "a")),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, PairDraft("q", "a")),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
            PairDraft("q", "a", "s"),
        ),
        ({"prompt": "q", "completion": "a"}, PairDraft("q", "a")),
        ({"prompt": USER, "completion": ASSISTANT}, PairDraft("q", "a")),
        ({"question": "q", "answer": "a"}, PairDraft("q", "a")),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, PreferenceDraft((U,), "a", "b")),
        ({"instruction": "q", "chosen": "a", "rejected": "b"}, PreferenceDraft((U,), "a", "b")),
        ({"prompt": USER, "chosen": ASSISTANT, "rejected": WORSE}, PreferenceDraft((U,), "a", "b")),
        ({"chosen": USER + ASSISTANT, "rejected": USER + WORSE}, PreferenceDraft((U,), "a", "b")),
        ({"prompt": "q", "chosen": USER + ASSISTANT, "rejected": USER + WORSE}, PreferenceDraft((U,), "a", "b")),
    ],
)
def test_what_others_write_is_understood(tmp_path: Path, value: dict[str, Any], expected: Any) -> None:
    assert read_one(tmp_path, value) == expected


@pytest.mark.parametrize(
    ("format", "value", "field", "what"),
    [
        ("alpaca", {"output": "a"}, "instruction", "missing"),
        ("alpaca", {"instruction": "q"}, "output", "missing"),
        ("alpaca", {"instruction": ["q"], "output": "a"}, "instruction", "a list"),
        ("alpaca", {"instruction": " ", "output": "a"}, "instruction", "empty"),
        ("alpaca", {"instruction": "q", "output": ""}, "output", "empty"),
        ("alpaca", {"instruction": "q", "output": "a", "history": ["x"]}, "history", "pairs"),
        ("alpaca", "q: a", "", "not an object"),
        ("openai", {}, "messages", "missing"),
        ("openai", {"messages": []}, "messages", "empty"),
        ("openai", {"messages": "hi"}, "messages", "not a list"),
        ("openai", {"messages": USER}, "messages", "does not end"),
        ("openai", {"messages": ASSISTANT}, "messages", "no question"),
        ("openai", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "'tool'"),
        ("openai", {"messages": [*USER, {"role": "assistant", "content": None}]}, "messages[1].content", "null"),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", "part"),
        ("openai", {"messages": [7]}, "messages[0]", "a number"),
        ("sharegpt", {"conversations": [{"from": "narrator", "value": "x"}]}, "conversations[0].from", "'narrator'"),
        ("prompt-completion", {"prompt": "q"}, "completion", "missing"),
        ("preference", {"prompt": "q", "chosen": "a"}, "rejected", "missing"),
        ("preference", {"chosen": "a", "rejected": "b"}, "prompt", "missing"),
        ("preference", {"prompt": "q", "chosen": USER, "rejected": WORSE}, "chosen", "does not end"),
        (
            "preference",
            {"prompt": "q", "chosen": USER + ASSISTANT, "rejected": [*USER, *USER, *WORSE]},
            "rejected",
            "same conversation",
        ),
    ],
)
def test_a_wrong_row_names_its_field(tmp_path: Path, format: str, value: Any, field: str, what: str) -> None:
    problem = read_one(tmp_path, value, format)
    assert isinstance(problem, Problem)
    assert (problem.line, problem.field) == (1, field)
    assert what in problem.what
    assert problem.row == value


def test_what_a_format_cannot_say_is_refused(tmp_path: Path) -> None:
    odd = [pair("q", "a", history=(Turn("user", "x"), Turn("user", "y")))]
    for name, suffix in (("alpaca", ".json"), ("csv", ".csv")):
        path = tmp_path / f"x{suffix}"
        with pytest.raises(Unsupported, match=f"earlier turns.*{name} cannot hold"):
            FORMATS[name].write(path, odd)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_delimiters(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f'Instruction{delimiter}Output\nq{delimiter}"a\nb"\n', encoding="utf-8")
    (row,) = read(open_file(path))
    assert isinstance(row, Row)
    assert row.draft == PairDraft("q", "a\nb")


def test_unknown_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("colour,size\nred,1\n")
    with pytest.raises(BadInput, match="colour, size"):
        list(read(open_file(path)))


def test_lines_are_counted_in_every_layout(tmp_path: Path) -> None:
    row = '{"instruction": "q", "output": "a"}'
    layouts = {
        "compact.json": (f"[{row},{row}]", [1, 1]),
        "pretty.json": (f"\n[\n  {row},\n\n  {row}\n]\n", [3, 5]),
        "lines.jsonl": (f"\n{row}\r\n\r\n{row}\r\n", [2, 4]),
        "objects.json": ('{\n"instruction": "q",\n"output": "a"}\n{\n"instruction": "q", "output": "b"}\n', [1, 4]),
        "bom.jsonl": ("\ufeff" + row + "\n" + row, [1, 2]),
        "bom.json": ("\ufeff[" + row + ",\n" + row + "]", [1, 2]),
    }
    for name, (content, lines) in layouts.items():
        path = tmp_path / name
        path.write_bytes(content.encode())
        assert [found.line for found in read(open_file(path)) if isinstance(found, Row)] == lines, name


def test_a_long_first_line_is_still_lines(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    rows = [
        json.dumps({"instruction": "q" * 200_000, "output": "a"}),
        "broken",
        json.dumps({"instruction": "q", "output": "a"}),
    ]
    path.write_text("\n".join(rows))
    assert [type(found) for found in read(open_file(path))] == [Row, Problem, Row]


def test_placeholders() -> None:
    assert unfilled("I am {{name}} by {{ author }} and {{name}}; {{}} {{1x}} {x}") == ["name", "author"]
    assert fill("I am {{name}} by {{ author }}", {"name": "{{author}}"}) == "I am {{author}} by {{ author }}"


@given(st.dictionaries(st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True).filter(str.isascii), text, max_size=4), text)
def test_filling_every_placeholder_leaves_the_values(values: dict[str, str], between: str) -> None:
    between = "".join(letter for letter in between if letter not in "{}\\^_$#" and not letter.isascii())
    template = between.join("{{" + name + "}}" for name in values)
    assert unfilled(template) == list(values)
    assert fill(template, values) == between.join(values.values())


def test_the_hash_is_of_words_alone() -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert content_hash(messages) == content_hash(
        [{"content": m["content"], "role": m["role"], "x": 1} for m in messages]
    )  # type: ignore[dict-item]
    assert content_hash(messages) != content_hash(messages[::-1])
