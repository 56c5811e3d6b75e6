"""Nothing that changes a row's meaning is lost: fields are used or counted, and a bad answer never becomes a pair."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import datasets, feedback, importing, votes
from store.db import Store
from store.errors import BadInput
from store.importing import ImportReport
from store.records import Pair, Turn

Bring = Callable[..., ImportReport]
Q, A, BAD = "How far is the moon?", "384,400 km.", "Five miles."
ASKED = [{"role": "user", "content": Q}]


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


@pytest.fixture
def bring(store: Store, tmp_path: Path) -> Bring:
    """Imports rows as a file of the dataset d; every row must be accounted for."""

    def run(rows: list[Any] | str, name: str = "rows.jsonl", **how: Any) -> ImportReport:
        text = rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows))
        (tmp_path / name).write_text(text, "utf-8")
        report = importing.import_files(store, [tmp_path / name], dataset="d", **how)
        assert report.read == report.kept + report.duplicates + report.rejected
        assert report.kept == report.pairs + report.preferences + report.feedback
        return report

    return run


def only_pair(store: Store) -> Pair:
    [(pair, _)] = datasets.members(store, "d")
    return pair


class TestFeedback:
    @pytest.mark.parametrize(
        "row",
        [
            {"prompt": Q, "completion": BAD, "label": False},
            {"prompt": ASKED, "completion": [said(BAD)], "label": False},
            {"messages": [*ASKED, said(BAD)], "label": False},
            {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": BAD}], "kto_tag": False},
            {"instruction": Q, "output": BAD, "kto_tag": "false"},
            {"question": Q, "answer": BAD, "is_good": 0},
            {"question": Q, "answer": BAD, "thumbs_down": True},
            {"question": Q, "answer": BAD, "feedback": "thumbs_down"},
            {"question": Q, "answer": BAD, "is_bad": "True"},
            {"question": Q, "answer": BAD, "rating": "1/5"},
            {"question": Q, "answer": BAD, "stars": "2 stars"},
            {"question": Q, "answer": BAD, "rating": 1},
        ],
    )
    def test_a_bad_answer_is_feedback_and_no_pair(self, store: Store, bring: Bring, row: dict[str, Any]) -> None:
        report = bring([row])
        assert (report.pairs, report.feedback, report.not_read) == (0, 1, {})
        assert datasets.members(store, "d", status=None) == []
        (judged,) = feedback.list_feedback(store, "d")
        assert (judged.prompt, judged.answer, judged.good) == (ASKED, BAD, False)
        assert judged.source == {"file": "rows.jsonl", "line": 1}
        assert any("feedback" in notice for notice in report.notices)
        assert bring([row]).duplicates == 1

    def test_a_good_answer_with_a_thumb_is_feedback_too(self, store: Store, bring: Bring) -> None:
        report = bring([{"prompt": Q, "completion": A, "label": True, "system": "Be exact."}], split="val")
        (judged,) = feedback.list_feedback(store, "d")
        assert (judged.good, judged.split, judged.prompt[0]) == (
            True,
            "val",
            {"role": "system", "content": "Be exact."},
        )
        assert report.feedback == 1

    @pytest.mark.parametrize(
        ("ratings", "low"),
        [([1, 2, 3, 4, 5], 2), ([0.1, 0.5, 0.9], 1), ([10, 5, 6, 2], 2), ([100, 49, 50], 1), ([1, 1], 2), ([0, 1], 1)],
    )
    def test_low_is_below_the_middle_of_the_scale_of_the_file(
        self, store: Store, bring: Bring, ratings: list[float], low: int
    ) -> None:
        report = bring([{"question": f"{Q} {n}", "answer": A, "rating": each} for n, each in enumerate(ratings)])
        assert (report.feedback, report.pairs, report.not_read) == (low, len(ratings) - low, {})
        assert not any(each.good for each in feedback.list_feedback(store, "d"))
        assert any("rating below the middle" in notice for notice in report.notices)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("label", "physics"), ("label", "negative"), ("label", 3), ("feedback", "It was fine."), ("rating", -4),
         ("rating", "R")],
    )  # fmt: skip
    def test_what_is_no_judgement_is_counted(self, store: Store, bring: Bring, name: str, value: Any) -> None:
        report = bring([{"question": Q, "answer": A, name: value}])
        assert (report.pairs, report.not_read) == (1, {name: 1})

    def test_feedback_comes_out_as_it_went_in(self, store: Store, bring: Bring, tmp_path: Path) -> None:
        rows = [{"prompt": f"{Q} {n}", "completion": A, "label": n % 2 == 0} for n in range(4)]
        bring(rows)
        out = tmp_path / "out.jsonl"
        assert importing.export_dataset(store, "d", "feedback", out) == 4
        assert importing.import_files(store, [out], dataset="d").duplicates == 4
        assert importing.left_out(store, "d", "openai") == {"feedback": 4}


class TestWeights:
    def test_a_weight_of_0_is_context_and_not_trained(self, store: Store, bring: Bring) -> None:
        bring([{"messages": [*ASKED, said(BAD, weight=0), *ASKED, said(A, weight=1)]}])
        assert only_pair(store).history == (Turn("user", Q), Turn("assistant", BAD, False))

    @pytest.mark.parametrize("key", [{"train": False}, {"loss": False}, {"weight": 0.0}])
    def test_other_spellings(self, store: Store, bring: Bring, key: dict[str, Any]) -> None:
        talk = [{"from": "human", "value": Q}, {"from": "gpt", "value": BAD, **key}]
        bring([{"conversations": [*talk, {"from": "human", "value": "So?"}, {"from": "gpt", "value": A}]}])
        assert only_pair(store).history[1] == Turn("assistant", BAD, False)

    def test_turns_after_the_last_trained_answer_are_left_out_and_told(self, store: Store, bring: Bring) -> None:
        report = bring([{"messages": [*ASKED, said(A), *ASKED, said(BAD, weight=0)]}])
        assert (only_pair(store).answer, only_pair(store).history) == (A, ())
        assert any(notice.startswith("1 row: turns after the last trained answer") for notice in report.notices)

    def test_a_row_of_weight_0_alone_is_refused(self, bring: Bring) -> None:
        with pytest.raises(BadInput, match="nothing to train on"):
            bring([{"messages": [*ASKED, said(BAD, weight=0)]}])

    def test_half_a_weight_is_counted(self, bring: Bring) -> None:
        assert bring([{"messages": [*ASKED, said(A, weight=0.5, name="Ann")]}]).not_read == {
            "messages[].name": 1, "messages[].weight": 1
        }  # fmt: skip

    @pytest.mark.parametrize(("format", "suffix"), [("openai", "jsonl"), ("sharegpt", "jsonl"), ("parquet", "parquet")])
    def test_formats_that_can_hold_a_weight_keep_it(
        self, store: Store, bring: Bring, tmp_path: Path, format: str, suffix: str
    ) -> None:
        if format == "parquet":
            pytest.importorskip("pyarrow")
        bring([{"messages": [*ASKED, said(BAD, weight=0), *ASKED, said(A)]}])
        out = tmp_path / f"out.{suffix}"
        importing.export_dataset(store, "d", format, out)
        assert importing.import_files(store, [out], dataset="d").duplicates == 1

    @pytest.mark.parametrize("format", ["alpaca", "prompt-completion", "csv"])
    def test_the_others_refuse_before_they_write(self, store: Store, bring: Bring, tmp_path: Path, format: str) -> None:
        from store.errors import Unsupported

        bring([{"messages": [*ASKED, said(BAD, weight=0), *ASKED, said(A)]}])
        with pytest.raises(Unsupported, match="1 of 1 pairs"):
            importing.export_dataset(store, "d", format, tmp_path / "out.csv")
        assert not (tmp_path / "out.csv").exists()


class TestFields:
    @pytest.mark.parametrize("asked", ["instruction", "question", "prompt", "query"])
    @pytest.mark.parametrize("answered", ["output", "response", "completion", "answer"])
    def test_what_belongs_to_a_question_is_kept(self, store: Store, bring: Bring, asked: str, answered: str) -> None:
        row = {asked: Q, answered: A, "context": "c", "input": "i", "system_prompt": "s", "history": [["x", "y"]]}
        assert bring([row]).not_read == {}
        pair = only_pair(store)
        assert (pair.question, pair.answer, pair.system) == (f"{Q}\ni\nc", A, "s")
        assert pair.history == (Turn("user", "x"), Turn("assistant", "y"))

    def test_and_beside_a_preference(self, store: Store, bring: Bring) -> None:
        row = {"question": Q, "chosen": A, "rejected": BAD, "context": "c", "system": "s", "history": [["x", "y"]]}
        assert bring([row]).not_read == {}
        (kept,) = votes.preferences(store, "d")
        assert [m["content"] for m in kept.prompt] == ["s", "x", "y", f"{Q}\nc"]

    def test_input_alone_is_the_question(self, store: Store, bring: Bring) -> None:
        bring([{"input": Q, "output": A}])
        assert only_pair(store).question == Q

    def test_a_system_text_beside_messages_counts_unless_they_have_one(self, store: Store, bring: Bring) -> None:
        both = [{"role": "system", "content": "own"}, *ASKED, said(A)]
        report = bring([{"messages": [*ASKED, said(A)], "system": "beside"}, {"messages": both, "system": "beside"}])
        assert sorted(pair.system for pair, _ in datasets.members(store, "d")) == ["beside", "own"]
        assert report.not_read == {"system": 1}

    def test_what_is_not_read_is_counted_for_each_field(self, bring: Bring) -> None:
        rows = [{"question": f"{Q} {n}", "answer": A, "id": n, "empty": None, "none": ""} for n in range(150)]
        rows[0]["source"] = "web"
        assert bring(rows).not_read == {"id": 150, "source": 1}

    def test_two_columns_for_one_thing_lose_nothing_silently(self, bring: Bring) -> None:
        row = {"instruction": Q, "output": A, "response": "another", "system": "s", "system_prompt": "t"}
        assert bring([row]).not_read == {"response": 1, "system_prompt": 1}

    def test_names_in_capitals_are_the_same(self, store: Store, bring: Bring) -> None:
        bring([{"Question": Q, " ANSWER ": A}])
        assert only_pair(store).answer == A

    def test_a_row_of_empty_cells_is_a_row(self, bring: Bring) -> None:
        report = bring("question,answer\nq,a\n,\n\nr,\n", "x.csv")
        assert (report.read, report.kept, [p.line for p in report.problems]) == (3, 1, [3, 5])

    def test_a_field_that_stands_twice_loses_nothing(self, bring: Bring) -> None:
        report = bring('{"question": "q", "answer": "a", "answer": "b"}\n{"question": "q", "answer": "a"}')
        assert report.problems[0].field == "answer" and "twice" in report.problems[0].what

    def test_numbers_are_text_and_nan_is_null(self, store: Store, bring: Bring) -> None:
        report = bring(
            '{"question": 7, "answer": 3.5}\n{"question": "q", "answer": NaN}\n{"question": "q", "answer": true}'
        )
        assert (only_pair(store).question, only_pair(store).answer) == ("7", "3.5")
        assert [(p.field, p.what) for p in report.problems] == [
            ("completion", "is missing"), ("answer", "is true or false, not text")
        ]  # fmt: skip

    def test_rows_may_be_of_different_formats(self, store: Store, bring: Bring) -> None:
        report = bring(
            [
                {"instruction": Q, "output": A},
                {"messages": [*ASKED, said("Far.")]},
                {"question": Q, "chosen": A, "rejected": BAD},
                {"question": Q, "answer": BAD, "label": False},
                {"colour": "red"},
            ]
        )
        assert (report.pairs, report.preferences, report.feedback, report.rejected) == (2, 1, 1, 1)

    def test_a_format_that_is_named_takes_no_other(self, bring: Bring) -> None:
        report = bring([{"instruction": Q, "output": A}, {"messages": [*ASKED, said(A)]}], format="alpaca")
        assert (report.kept, report.rejected) == (1, 1)


class TestNotSupported:
    @pytest.mark.parametrize(
        ("row", "field"),
        [
            ({"messages": [*ASKED, said(A)], "tools": [{"type": "function"}]}, "tools"),
            ({"question": Q, "answer": A, "tools": '[{"name": "search"}]'}, "tools"),
            ({"messages": [*ASKED, said(A, tool_calls=[{"id": 1}])]}, "messages[1].tool_calls"),
            ({"messages": [*ASKED, {"role": "tool", "content": "x"}]}, "messages[1].role"),
            ({"conversations": [{"from": "human", "value": Q}, {"from": "observation", "value": "x"}]},
             "conversations[1].from"),
            ({"messages": [*ASKED, said(A)], "images": ["a.png"]}, "images"),
            ({"question": "<image>What is it?", "answer": A}, ""),
            ({"prompt": "<video> Who?", "chosen": A, "rejected": BAD}, ""),
            ({"question": Q, "answer": A, "audio": {"path": "a.wav"}}, "audio"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, said(A)]},
             "messages[0].content"),
        ],
    )  # fmt: skip
    def test_tools_and_media_are_refused_row_by_row(self, bring: Bring, row: dict[str, Any], field: str) -> None:
        report = bring([{"question": "ok", "answer": "ok"}, row])
        assert (report.kept, report.rejected) == (1, 1)
        (problem,) = report.problems
        assert problem.field == field and ("not supported" in problem.what or "is supported" in problem.what)

    @pytest.mark.parametrize(
        "row",
        [
            {"question": Q, "answer": A, "tools": [], "images": None},
            {"question": Q, "answer": A, "tools": "[]"},
            {"question": "What does `<image>` do?", "answer": "<image><url>x</url></image>"},
        ],
    )
    def test_what_only_looks_like_it_is_taken(self, bring: Bring, row: dict[str, Any]) -> None:
        assert bring([row]).pairs == 1


class TestPreferences:
    @pytest.mark.parametrize(
        "row",
        [
            {"question": Q, "chosen_response": A, "rejected_response": BAD},
            {"question": Q, "answer": A, "rejected_response": BAD},
            {"instruction": Q, "output": A, "rejected": BAD},
            {"prompt": Q, "response_chosen": A, "response_rejected": BAD},
            {"input": {"messages": ASKED}, "preferred_output": [said(A)], "non_preferred_output": [said(BAD)]},
            {"question": Q, "response_j": A, "response_k": BAD},
            {"messages": [*ASKED, said(A)], "chosen": said(A), "rejected": said(BAD)},
        ],
    )
    def test_a_rejected_answer_makes_a_preference(self, store: Store, bring: Bring, row: dict[str, Any]) -> None:
        assert bring([row]).preferences == 1
        (kept,) = votes.preferences(store, "d")
        assert (kept.prompt, kept.chosen, kept.rejected) == (ASKED, A, BAD)

    def test_a_prompt_that_the_answers_do_not_hold_is_counted(self, store: Store, bring: Bring) -> None:
        both = {"chosen": [*ASKED, said(A)], "rejected": [*ASKED, said(BAD)]}
        assert bring([{"prompt": Q, **both}]).not_read == {}
        report = bring([{"prompt": "Another?", **both, "system": "s"}])
        assert list(report.not_read) == ["prompt (the answers hold another conversation)"]

    def test_an_empty_rejected_answer_makes_a_pair(self, store: Store, bring: Bring) -> None:
        assert bring([{"question": Q, "answer": A, "rejected": ""}, {"question": "r", "answer": A}]).pairs == 2

    def test_tables_hold_them_too(self, store: Store, bring: Bring, tmp_path: Path) -> None:
        report = bring(f'prompt,chosen,rejected\n{Q},"{A}",{BAD}\n{Q},x,x\n', "p.csv")
        assert (report.preferences, report.rejected) == (1, 1)
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"prompt": ["q"], "chosen": ["a"], "rejected": ["b"]}), tmp_path / "p")
        assert importing.import_files(store, [tmp_path / "p"], dataset="d").preferences == 1

    def test_messages_in_a_cell_of_a_table(self, store: Store, bring: Bring) -> None:
        cells = json.dumps([*ASKED, said(A)]).replace('"', '""')
        python = str([{"role": "user", "content": "it's"}, {"role": "assistant", "content": "so"}]).replace('"', '""')
        assert bring(f'messages\n"{cells}"\n"{python}"\n', "m.csv").pairs == 2
        assert [pair.question for pair, _ in datasets.members(store, "d")] == [Q, "it's"]


class TestSplits:
    @pytest.mark.parametrize(("first", "second"), [("train", "val"), ("val", "train"), ("test", "val")])
    def test_a_known_pair_stays_in_its_split_and_that_is_told(
        self, store: Store, bring: Bring, first: Any, second: Any
    ) -> None:
        rows = [{"question": f"{Q} {n}", "answer": A} for n in range(3)]
        assert bring(rows[:2], split=first).elsewhere == {}
        report = bring(rows, split=second)
        assert (report.kept, report.duplicates, report.elsewhere) == (1, 2, {first: 2})
        assert f"2 rows are in d already and stay in its {first} split, not in {second}." in report.notices
        assert [split for _, split in datasets.members(store, "d")] == [first, first, second]

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_an_imported_split_stays_when_the_dataset_is_split(self, store: Store, bring: Bring, split: Any) -> None:
        bring([{"question": f"first {n}", "answer": A} for n in range(4)], split=split)
        bring([{"question": f"What is the number {n} in words?", "answer": A} for n in range(20)])
        datasets.resplit(store, "d", val=0.2, test=0.2)
        stayed = {split for pair, split in datasets.members(store, "d") if pair.question.startswith("first")}
        assert stayed == {split}

    def test_a_split_is_exported_alone(self, store: Store, bring: Bring, tmp_path: Path) -> None:
        bring([{"question": Q, "answer": A}])
        bring([{"question": "held", "answer": "out"}], split="test")
        assert importing.export_dataset(store, "d", "openai", tmp_path / "t.jsonl", split="test") == 1
        assert "held" in (tmp_path / "t.jsonl").read_text()
