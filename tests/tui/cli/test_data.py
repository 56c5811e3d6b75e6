"""`tuningfork data`: each command once as it should be used, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.core import sample_files
from store import datasets, edits, pairs
from store.db import Store
from store.errors import NotFound
from store.records import PairDraft
from tests.tui.cli.conftest import Cli

Write = Callable[[str, str | bytes], str]


class TestImportExport:
    def test_import_says_what_became_of_each_row(self, tf: Cli, write: Write) -> None:
        good = {"instruction": "Where?", "output": "Here."}
        file = write("rows.jsonl", "\n".join(map(json.dumps, [good, good, {"instruction": "Empty", "output": [3]}])))
        found = tf.json("data", "import", file, "--dataset", "d")
        assert {k: found[k] for k in ("read", "kept", "rejected", "duplicates")} == {
            "read": 3, "kept": 1, "rejected": 1, "duplicates": 1
        }  # fmt: skip
        assert json.loads(Path(found["report"]).read_text())["line"] == 3
        assert found["problems"][0]["field"] == "output"

    def test_import_for_a_person(self, tf: Cli, write: Write) -> None:
        file = write(
            "rows.jsonl", '{"instruction": "Where?", "output": "Here."}\n{"instruction": "x", "output": [3]}\n'
        )
        result = tf("data", "import", file, "--dataset", "d")
        assert result.stdout.startswith("1 pair imported into d of 2 rows read.")
        assert "1 row could not be used" in result.stdout and ":2: output" in result.stderr

    def test_the_sample_identity_is_filled(self, tf: Cli, store: Store) -> None:
        words = ("data", "import", "sample:identity", "--dataset", "ember", "--set", "name=Ember")
        found = tf.json(*words, "--set", "author=Northwind Labs")
        assert found["kept"] >= 40 and found["rejected"] == 0 and found["report"] is None
        texts = [pair.answer for pair, _ in datasets.members(store, "ember")]
        assert any("Ember" in text for text in texts) and not any("{{" in text for text in texts)
        assert {pair.kind for pair, _ in datasets.members(store, "ember")} == {"identity"}

    def test_kind_and_split_are_taken_over(self, tf: Cli, write: Write, store: Store) -> None:
        file = write("r.json", '[{"instruction": "Q", "output": "A"}]')
        tf.ok("data", "import", file, "--dataset", "d", "--kind", "identity", "--split", "val")
        [(pair, split)] = datasets.members(store, "d")
        assert (pair.kind, split) == ("identity", "val")

    @pytest.mark.parametrize("format_", ["alpaca", "openai", "sharegpt", "prompt-completion", "csv"])
    def test_what_is_exported_comes_back(self, tf: Cli, facts: str, tmp_path: Path, format_: str) -> None:
        file = tmp_path / f"out.{'csv' if format_ == 'csv' else 'jsonl'}"
        found = tf.json("data", "export", str(file), "--dataset", facts, "--format", format_)
        assert found == {"dataset": "facts", "format": format_, "path": str(file), "rows": 4}
        again = tf.json("data", "import", str(file), "--dataset", "copy")
        assert (again["kept"], again["duplicates"], again["rejected"]) == (0, 4, 0)

    def test_an_export_replaces_nothing_unasked(self, tf: Cli, facts: str, write: Write) -> None:
        file = write("mine.jsonl", "mine")
        words = ("data", "export", file, "--dataset", facts, "--format", "openai")
        assert tf.error(*words)["where"] == file
        assert Path(file).read_text() == "mine"
        tf.ok(*words, "--overwrite")
        assert Path(file).read_text() != "mine"


class TestDatasets:
    def test_list(self, tf: Cli, facts: str) -> None:
        [row] = tf.json("data", "list")
        assert {k: v for k, v in row.items() if k != "created_at"} == {
            "name": "facts", "description": "", "pairs": 4, "ready": 4, "train": 4, "val": 0, "test": 0,
            "preferences": 0, "feedback": 0,
        }  # fmt: skip
        assert "facts" in tf.ok("data", "list")

    def test_an_empty_home_says_how_to_begin(self, tf: Cli) -> None:
        result = tf("data", "list")
        assert result.stdout == "" and "data import" in result.stderr
        assert tf.json("data", "list") == []

    def test_split_freeze_stats(self, tf: Cli, facts: str) -> None:
        counts = tf.json("data", "split", "--dataset", facts, "--val", "0.25")
        assert counts["train"] + counts["val"] + counts["test"] == 4 and counts["val"] >= 1
        first = tf.json("data", "freeze", "--dataset", facts)
        assert first == tf.json("data", "freeze", "--dataset", facts)
        assert len(first["hash"]) == 64 and first["rows"] == 4
        stats = tf.json("data", "stats", "--dataset", facts)
        assert stats["split"] == {k: v for k, v in counts.items() if k != "dataset" and v}
        assert stats["answer_chars"] == {"min": 9, "median": 9, "max": 9, "total": 36}

    def test_rename_and_drop_keep_the_pairs(self, tf: Cli, facts: str, store: Store) -> None:
        tf.ok("data", "rename", facts, "kept")
        error = tf.error("data", "drop", "kept")
        assert "--yes" in error["todo"] and tf.json("data", "list")[0]["name"] == "kept"
        assert tf.json("data", "drop", "kept", "--yes") == {"dropped": "kept", "pairs_kept": 4}
        assert tf.json("data", "list") == [] and pairs.count(store) == 4


class TestJudging:
    @pytest.fixture
    def poor(self, tf: Cli, write: Write) -> str:
        rows = [
            ("What is it?", "A radio."),
            ("what is it", "a radio!"),
            ("Where is it?", "Here <|im_end|>"),
            ("When is it?", "At noon on most days of the week, they say."),
            ("When is it?", "At ten on most days of the week, they say."),
            ("Which key?", "AKIA" + "ABCDEFGHIJKLMNOP"),
        ]
        text = "\n".join(json.dumps({"instruction": q, "output": a}) for q, a in rows)
        tf.ok("data", "import", write("poor.jsonl", text), "--dataset", "poor")
        return "poor"

    def test_lint(self, tf: Cli, poor: str) -> None:
        found = tf.json("data", "lint", "--dataset", poor)
        rules = [(f["level"], f["code"]) for f in found["findings"]]
        assert {("error", "marker"), ("error", "secret"), ("warning", "conflict")} <= set(rules)
        assert found["pairs"] == 6 and found["errors"] == sum(level == "error" for level, _ in rules)
        assert set(found["findings"][0]) == {"uid", "code", "field", "what", "level", "start", "end", "fixable"}
        assert tf.json("data", "lint", "--dataset", poor, "--level", "error")["warnings"] == 0
        shown = tf.ok("data", "lint", "--dataset", poor)
        assert "<|im_end|>" in shown and "AKIA" not in shown

    def test_lint_of_good_data(self, tf: Cli, facts: str) -> None:
        assert tf.json("data", "lint", "--dataset", facts)["findings"] == []
        assert "No problems found in 4 pairs." in tf.ok("data", "lint", "--dataset", facts)

    def test_lint_of_one_rule_shows_a_fix_then_makes_it_and_undo_undoes_it(self, tf: Cli, write: Write) -> None:
        rows = [{"instruction": "What &amp; why?", "output": "This. "}, {"instruction": "Where?", "output": "nan"}]
        tf.ok("data", "import", write("f.jsonl", "\n".join(map(json.dumps, rows))), "--dataset", "f")
        words = ("data", "lint", "--dataset", "f", "--rule", "entity")
        assert [(f["code"], f["fixable"]) for f in tf.json(*words)["findings"]] == [("entity", True)]
        seen = tf.json(*words, "--fix", "--dry-run")
        assert [(c["before"], c["after"]) for c in seen["changes"]] == [("What &amp; why?", "What & why?")]
        assert "1 text in 1 pair would be corrected." in tf.ok(*words, "--fix", "--dry-run")
        assert len(tf.json(*words)["findings"]) == 1, "a dry run changes nothing"
        assert tf.json(*words, "--fix") == {**seen, "dry_run": False}
        assert tf.json(*words)["findings"] == [] and tf.json("data", "undo")["label"] == "fix entity in f"
        assert len(tf.json(*words)["findings"]) == 1
        assert "--rule" in tf.error("data", "lint", "--dataset", "f", "--fix")["todo"]
        assert "filler" in tf.error("data", "lint", "--dataset", "f", "--rule", "filler", "--fix")["what"]
        assert "--fix" in tf.error(*words, "--dry-run")["todo"]

    def test_rules_are_listed(self, tf: Cli) -> None:
        found = {row["rule"]: row for row in tf.json("data", "lint", "--rules")}
        assert found["mojibake"]["fixable"] and found["leak"]["level"] == "warning"
        assert "mojibake" in tf.ok("data", "lint", "--rules")
        assert "--dataset" in tf.error("data", "lint")["where"]

    def test_a_muted_rule_is_not_reported(self, tf: Cli, poor: str) -> None:
        lint = ("data", "lint", "--dataset", poor, "--rule", "marker")
        [found] = tf.json(*lint)["findings"]
        assert tf.json("data", "mute", "marker", "--uid", found["uid"])["uid"] == found["uid"]
        assert (tf.json(*lint)["findings"], tf.json(*lint)["muted"]) == ([], 1)
        assert "data mute --list" in tf(*lint).stderr
        assert [m["rule"] for m in tf.json("data", "mute", "--list")["muted"]] == ["marker"]
        assert "marker" in tf.ok("data", "mute", "--list")
        tf.ok("data", "mute", "marker", "--uid", found["uid"], "--undo")
        assert len(tf.json(*lint)["findings"]) == 1
        assert "mute --list" in tf.error("data", "mute", "marker", "--undo")["todo"]
        assert "lint --rules" in tf.error("data", "mute", "markers")["todo"]
        assert "lint --rules" in tf.error("data", "mute")["todo"]

    def test_pairs_that_are_no_duplicates_stay(self, tf: Cli, poor: str) -> None:
        [group] = tf.json("data", "dedupe", "--dataset", poor)["groups"]
        couple = ("data", "mute", "duplicate", "--uid", group[0], "--uid", group[1])
        assert tf.json(*couple)["changed"] == 1
        assert tf.json("data", "dedupe", "--dataset", poor, "--delete")["groups"] == []
        assert tf.json("data", "mute", "--list")["not_duplicates"] == [sorted(group)]
        tf.ok(*couple, "--undo")
        assert tf.json("data", "dedupe", "--dataset", poor)["groups"] == [group]
        assert tf.error("data", "mute", "marker", "--uid", group[0], "--uid", group[1])["where"] == "--uid"

    def test_dedupe_deletes_only_when_asked_and_can_be_undone(self, tf: Cli, poor: str) -> None:
        oldest = min(pair["uid"] for pair in tf.json("data", "search", "what"))
        found = tf.json("data", "dedupe", "--dataset", poor)
        assert (len(found["groups"]), found["duplicates"], found["deleted"]) == (1, 1, 0)
        assert found["groups"][0][0] == oldest and len(tf.json("data", "search")) == 6
        assert tf.json("data", "dedupe", "--dataset", poor, "--delete")["deleted"] == 1
        assert [pair["uid"] for pair in tf.json("data", "search", "what")] == [oldest]
        tf.ok("data", "undo")
        assert len(tf.json("data", "search")) == 6
        assert tf.json("data", "dedupe", "--dataset", poor, "--near", "0.4")["duplicates"] == 2

    def test_shares_are_counted_before_one_is_chosen(self, tf: Cli, poor: str) -> None:
        counts = tf.json("data", "dedupe", "--dataset", poor, "--near")["thresholds"]
        assert [each["threshold"] for each in counts] == [n / 100 for n in range(50, 101, 5)]
        for each in counts[::5]:
            found = tf.json("data", "dedupe", "--dataset", poor, "--near", str(each["threshold"]))
            assert each["duplicates"] == found["duplicates"] and each["groups"] == len(found["groups"])
        assert tf.json("data", "dedupe", "--histogram", "--dataset", poor)["thresholds"] == counts
        lines = tf.ok("data", "dedupe", "--near", "--dataset", poor).splitlines()
        most = counts[0]
        assert lines[1].split() == ["0.50", str(most["groups"]), str(most["pairs"]), "█" * 30] and len(lines) == 12
        assert most["pairs"] > counts[-1]["pairs"] > 0
        assert "--near 0.8" in tf("data", "dedupe", "--dataset", poor, "--near").stderr
        assert "--near 0.8" in tf.error("data", "dedupe", "--dataset", poor, "--near", "--delete")["todo"]
        assert tf.error("data", "dedupe", "--dataset", poor, "--near", "0.9", "--histogram")["where"] == "--near"
        assert tf("data", "dedupe", "--dataset", poor, "--near", "0").exit_code == 2

    def test_the_same_words_after_another_turn_are_no_duplicate(self, tf: Cli, write: Write) -> None:
        def chat(first: str) -> str:
            words = (("user", first), ("assistant", "Yes?"), ("user", "And now?"), ("assistant", "Now this."))
            return json.dumps({"messages": [{"role": role, "content": text} for role, text in words]})

        tf.ok("data", "import", write("c.jsonl", chat("One") + "\n" + chat("Two")), "--dataset", "c")
        assert tf.json("data", "dedupe", "--dataset", "c")["groups"] == []

    def test_dedupe_keeps_the_best_copy(self, tf: Cli, write: Write) -> None:
        rows = [{"instruction": "Who?", "output": "Me."}, {"instruction": "who", "output": "me."}]
        for row, split in zip(rows, ("val", "train"), strict=True):
            tf.ok("data", "import", write("r.jsonl", json.dumps(row)), "--dataset", "d", "--split", split)
        in_train, in_val = (pair["uid"] for pair in tf.json("data", "search"))
        assert tf.json("data", "dedupe", "--dataset", "d")["groups"] == [[in_train, in_val]]
        tf.ok("data", "mark", "draft", in_train)
        assert tf.json("data", "dedupe", "--dataset", "d")["groups"] == [[in_val, in_train]], "ready before draft"

    def test_dedupe_deletes_in_other_datasets_only_when_asked(self, tf: Cli, poor: str, store: Store) -> None:
        newer = tf.json("data", "search", "what")[0]["uid"]
        datasets.add(store, "other", [newer])
        done = tf("data", "dedupe", "--dataset", poor, "--delete")
        assert "(other)" in done.stderr and "--everywhere" in done.stderr and done.exit_code == 0
        assert len(tf.json("data", "search", "what")) == 2
        assert [d["pairs"] for d in tf.json("data", "list") if d["name"] in (poor, "other")] == [1, 5]
        tf.ok("data", "undo")
        again = tf.json("data", "dedupe", "--dataset", poor, "--delete", "--everywhere")
        assert (again["deleted"], again["taken_out"], again["in_other_datasets"]) == (1, 0, {newer: ["other"]})
        assert len(tf.json("data", "search", "what")) == 1
        assert "--delete" in tf.error("data", "dedupe", "--dataset", poor, "--everywhere")["todo"]


JUDGED = """
{"prompt": "Who are you?", "chosen": "I am Ember.", "rejected": "I am ChatGPT <|im_end|>."}
{"prompt": "你是谁？", "completion": "我是模型 AKIAA1B2C3D4E5F6G7H8", "label": false}
"""


class TestPreferences:
    @pytest.fixture
    def judged(self, tf: Cli, write: Write) -> list[dict[str, Any]]:
        tf.ok("data", "import", write("judged.jsonl", JUDGED.strip()), "--dataset", "d")
        return tf.json("data", "preferences")  # type: ignore[no-any-return]

    def test_they_are_listed_searched_and_shown(self, tf: Cli, judged: list[dict[str, Any]]) -> None:
        assert {row["kind"] for row in judged} == {"preference", "feedback"}
        [dataset] = tf.json("data", "list")
        assert (dataset["pairs"], dataset["preferences"], dataset["feedback"]) == (0, 1, 1)
        assert "preferences" in tf.ok("data", "list")
        for text, kind in (("chatgpt", "preference"), ("模型", "feedback"), ("你是", "feedback"), ("<|", "preference")):
            assert [row["kind"] for row in tf.json("data", "preferences", text)] == [kind], text
        assert tf.json("data", "preferences", "--kind", "feedback", "--dataset", "d")[0]["rejected"].startswith(
            "我是模型"
        )
        assert tf.json("data", "preferences", "--split", "val") == []
        shown = tf.ok("data", "show", judged[0]["uid"])
        assert judged[0]["uid"] in shown and "dataset" in shown
        assert "1 preference or feedback row also found" in tf("data", "search", "模型").stderr

    def test_lint_checks_them(self, tf: Cli, judged: list[dict[str, Any]]) -> None:
        found = tf.json("data", "lint", "--dataset", "d")
        assert found["preferences"] == 2
        assert {(f["code"], f["field"]) for f in found["findings"]} == {("marker", "rejected"), ("secret", "rejected")}

    def test_they_are_removed_and_brought_back(self, tf: Cli, judged: list[dict[str, Any]]) -> None:
        tf.ok("data", "add", "-q", "Who?", "-a", "Me.")
        pair = tf.json("data", "search")[0]["uid"]
        assert tf.json("data", "rm", judged[0]["uid"], pair)["removed"] == 2
        assert (len(tf.json("data", "preferences")), tf.json("data", "search")) == (1, [])
        assert tf.json("data", "undo")["pairs"] == 2
        assert tf.json("data", "preferences") == judged
        assert "--dataset" in tf.error("data", "rm", judged[0]["uid"], "--dataset", "d")["where"]
        assert "Several rows" in tf.error("data", "rm", pair[:4])["what"], "it may mean a pair or a preference"
        tf.ok("data", "drop", "d", "--yes")
        assert tf.json("data", "preferences") == []
        tf.ok("data", "undo")
        assert tf.json("data", "preferences") == judged


class TestUndo:
    def test_the_list_says_what_would_be_undone(self, tf: Cli, facts: str, store: Store) -> None:
        assert [row["label"] for row in tf.json("data", "undo", "--list")] == ["import facts.json"]
        tf.ok("data", "split", "--dataset", facts, "--val", "0.3")
        tf.ok("data", "rename", facts, "renamed")
        listed = tf.json("data", "undo", "--list")
        assert [row["label"] for row in listed] == ["rename facts to renamed", "split facts", "import facts.json"]
        assert all(row["undoable"] for row in listed) and len(tf.json("data", "undo", "--list", "--limit", "1")) == 1
        assert "split facts" in tf.ok("data", "undo", "--list")
        assert tf.ok("data", "undo") == "Undid: rename facts to renamed.\n"
        tf.ok("data", "undo")
        assert tf.json("data", "list")[0]["train"] == 4
        tf.ok("data", "undo")
        assert tf.json("data", "list") == [] and tf.json("data", "undo", "--list") == []

    def test_what_cannot_be_undone_stops_it(self, tf: Cli, facts: str, store: Store) -> None:
        with edits.recording(store, "erase a secret", permanent=True):
            pass
        assert [row["undoable"] for row in tf.json("data", "undo", "--list")] == [False]
        assert "cannot be undone" in tf.ok("data", "undo", "--list")
        assert "erase a secret" in tf.error("data", "undo")["what"]
        assert tf.json("data", "list")[0]["pairs"] == 4


class TestSplit:
    def test_an_imported_test_set_stays(self, tf: Cli, write: Write, facts: str) -> None:
        tf.ok(
            "data",
            "import",
            write("t.jsonl", '{"instruction": "T?", "output": "t"}'),
            "--dataset",
            facts,
            "--split",
            "test",
        )
        assert tf.json("data", "split", "--dataset", facts, "--val", "0.4")["test"] == 1
        said = tf("data", "split", "--dataset", facts, "--val", "0.4")
        assert "1 in test" in said.stderr and "--all" in said.stderr
        assert tf.json("data", "split", "--dataset", facts, "--val", "0.4", "--all")["test"] == 0
        tf.ok("data", "undo")
        assert tf.json("data", "list")[0]["test"] == 1


class TestPairs:
    def test_add_show_edit(self, tf: Cli) -> None:
        made = tf.json("data", "add", "-q", "Who?", "-a", "Me.", "--dataset", "d", "--tag", "one", "--tag", "two")
        assert (made["question"], made["answer"], made["status"], made["tags"]) == (
            "Who?",
            "Me.",
            "ready",
            ["one", "two"],
        )
        assert tf.json("data", "show", made["uid"][:11]) == made
        after = tf.json("data", "edit", made["uid"], "--answer", "You.", "--status", "draft")
        assert (after["answer"], after["status"], after["revision"], after["question"]) == ("You.", "draft", 2, "Who?")
        states = tf.json("data", "show", made["uid"], "--history")
        assert [state["answer"] for state in states] == ["Me.", "You."]
        assert "revision 1" in tf.ok("data", "show", made["uid"], "--history")

    def test_a_pair_without_an_answer_is_a_draft(self, tf: Cli) -> None:
        assert tf.json("data", "add", "-q", "Who?")["status"] == "draft"

    def test_a_text_can_come_from_stdin(self, tf: Cli) -> None:
        result = tf("data", "add", "-q", "Who?", "-a", "-", "--json", input="line 1\nline 2\n")
        assert json.loads(result.stdout)["answer"] == "line 1\nline 2"
        assert tf("data", "add", "-q", "-", "-a", "-", input="x").exit_code == 2

    def test_without_a_terminal_no_editor_opens(self, tf: Cli) -> None:
        assert "--question" in tf.error("data", "add")["todo"]

    def test_search_filters_and_limits(self, tf: Cli, facts: str) -> None:
        tf.ok("data", "add", "-q", "Where is the moon?", "-a", "Up.", "--status", "draft")
        assert [p["question"] for p in tf.json("data", "search", "moon")] == ["Where is the moon?"]
        assert [p["question"] for p in tf.json("data", "search", "--status", "draft")] == ["Where is the moon?"]
        assert len(tf.json("data", "search", "--dataset", facts)) == 4
        result = tf("data", "search", "--limit", "2")
        assert len(result.stdout.splitlines()) == 3 and "2 of 5 pairs" in result.stderr
        assert tf.json("data", "search", "quark") == []

    @pytest.mark.parametrize(
        "text", ['0"\x1b0\n', '"', '""', "a*b", "NEAR(x)", "C++", "👍", "模型", "ไม้", "^", "\x7f", "' OR 1"]
    )
    def test_any_text_can_be_searched(self, tf: Cli, store: Store, text: str) -> None:
        pairs.create(store, PairDraft(f"x {text} y", "z"))
        for command in ("search", "preferences"):
            found = tf("data", command, text, "--json")
            assert found.exit_code == 0 and isinstance(json.loads(found.stdout), list), found.stderr
        assert tf("data", "search", text).exit_code == 0

    def test_rm_undo_redo(self, tf: Cli, facts: str) -> None:
        uids = [pair["uid"] for pair in tf.json("data", "search")]
        assert tf.json("data", "rm", *uids[:3])["removed"] == 3
        assert len(tf.json("data", "search")) == 1
        assert tf.json("data", "undo")["pairs"] == 3 and len(tf.json("data", "search")) == 4
        assert tf.json("data", "redo")["pairs"] == 3 and len(tf.json("data", "search")) == 1
        assert "nothing to redo" in tf("data", "redo").stderr

    def test_rm_from_a_dataset_keeps_the_pair(self, tf: Cli, facts: str) -> None:
        uid = tf.json("data", "search")[0]["uid"]
        assert tf.json("data", "rm", uid, "--dataset", facts) == {"removed": 1, "uids": [uid], "dataset": facts}
        assert tf.json("data", "list")[0]["pairs"] == 3 and len(tf.json("data", "search")) == 4

    def test_mark(self, tf: Cli, facts: str) -> None:
        uids = [pair["uid"] for pair in tf.json("data", "search")]
        assert tf.json("data", "mark", "rejected", *uids[:2]) == {"changed": 2, "status": "rejected"}
        assert tf.json("data", "list")[0]["ready"] == 2

    def test_terminal_codes_in_data_never_reach_the_terminal(self, tf: Cli) -> None:
        evil = "\x1b]52;c;ZXZpbA==\x07\u202e\x9b2J"
        uid = tf.json("data", "add", "-q", f"Who?{evil}", "-a", f"Me.{evil}")["uid"]
        for words in (("search",), ("show", uid), ("search", "--json"), ("show", uid, "--json")):
            text = tf.ok("data", *words)
            assert not set(text) & set("\x1b\x07\x9b\u202e"), words
        assert tf.json("data", "show", uid)["answer"] == f"Me.{evil}"


class TestTurns:
    TURNS = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "weight": 0}]'

    def test_are_added_changed_and_undone(self, tf: Cli) -> None:
        made = tf.json("data", "add", "-q", "Who?", "-a", "Me.", "--turns", self.TURNS)
        assert made["history"] == [
            {"role": "user", "content": "Hi", "train": True},
            {"role": "assistant", "content": "Hello", "train": False},
        ]
        assert tf.json("data", "edit", made["uid"], "--turns", json.dumps(made["history"]))["revision"] == 1
        tf.ok("data", "edit", made["uid"], "--turns", "-", input='["One", "Two", "Three", "Four"]')
        after = tf.json("data", "show", made["uid"])
        assert [turn["role"] for turn in after["history"]] == ["user", "assistant"] * 2
        tf.ok("data", "undo")
        assert tf.json("data", "show", made["uid"])["history"] == made["history"]
        assert tf.json("data", "edit", made["uid"], "--turns", "[]")["history"] == []

    @pytest.mark.parametrize(
        ("turns", "why"),
        [
            ("Hi", "not JSON"),
            ('{"role": "user", "content": "Hi"}', "not a list of messages"),
            ('[{"role": "tool", "content": "Hi"}]', "turns[0].role 'tool' is a role of tool calls"),
            ('[{"role": "user"}]', "turns[0].content is null, not text"),
        ],
    )
    def test_what_is_wrong_is_named(self, tf: Cli, turns: str, why: str) -> None:
        found = tf("data", "add", "-q", "Who?", "-a", "Me.", "--turns", turns)
        assert found.exit_code == 2 and why in found.output, found.output


class TestSamples:
    def test_every_name_is_a_file(self) -> None:
        assert {"identity.json", "product.jsonl", "probes/identity.jsonl"} <= set(sample_files.names())
        assert all(sample_files.path(name).is_file() for name in sample_files.names())
        assert sample_files.path("identity") == sample_files.path("identity.json")

    def test_an_unknown_name_gets_a_hint(self) -> None:
        with pytest.raises(NotFound) as caught:
            sample_files.path("identty")
        assert caught.value.todo == "Did you mean identity.json?"
        with pytest.raises(NotFound):
            sample_files.path("../pyproject")
