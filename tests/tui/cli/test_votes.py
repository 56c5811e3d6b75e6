"""`tuningfork votes`, on votes that stand in a real store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from engine.inference.client import Done
from store import chats, datasets, pairs, votes
from store.db import Store
from store.importing import import_files
from store.records import Choice, PairDraft, Vote
from tests.tui.cli.conftest import Cli, FakeClient
from tests.tui.cli.test_root import HEAVY, modules_after

BASE, TUNED, OTHER = "smollm2-135m", "run:ember", "run:moss"
EVIL = "\x1b]52;c;ZXZpbA==\x07\u202e\x9b2J"
Cast = Callable[..., Vote]


@pytest.fixture
def cast(store: Store) -> Cast:
    """Keep a vote in the home of `tf`."""

    def cast(choice: Choice, a: str = BASE, b: str = TUNED, asked: str = "Who made you?", **more: Any) -> Vote:
        prompt: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": asked}]
        said = {"a_text": "I am a model.", "b_text": "Northwind Labs."}
        return votes.add(store, prompt=prompt, a_model=a, b_model=b, choice=choice, **said, **more)

    return cast


class TestList:
    def test_newest_first_and_complete_as_json(self, tf: Cli, cast: Cast) -> None:
        kept = [cast("b", blind=True, sampling={"seed": 7}), cast("both_bad", asked="And\nwhere?")]
        assert tf.json("votes", "list") == [asdict(vote) for vote in reversed(kept)]
        head, *rows = tf.ok("votes", "list").splitlines()
        assert head.split() == ["id", "when", "a", "b", "choice", "blind", "prompt"]
        assert [" ".join(row.split()) for row in rows] == [
            f"2 now {BASE} {TUNED} both bad no And where?",
            f"1 now {BASE} {TUNED} b yes Who made you?",
        ]

    def test_limit(self, tf: Cli, cast: Cast) -> None:
        for _ in range(3):
            cast("a")
        assert [vote["id"] for vote in tf.json("votes", "list", "--limit", "2")] == [3, 2]
        result = tf("votes", "list", "--limit", "1")
        assert len(result.stdout.splitlines()) == 2 and "1 of 3 votes" in result.stderr
        assert len(tf.ok("votes", "list", "--limit", "0").splitlines()) == 4

    def test_only_the_beginning_of_a_long_prompt(self, tf: Cli, cast: Cast) -> None:
        cast("a", asked="word " * 1000)
        assert len(tf.ok("votes", "list").splitlines()[1]) < 160

    def test_none(self, tf: Cli) -> None:
        assert tf.json("votes", "list") == [] and "no vote yet" in tf("votes", "list").stderr

    def test_terminal_codes_never_reach_the_terminal(self, tf: Cli, cast: Cast, tmp_path: Path) -> None:
        cast("b", a=f"base{EVIL}", asked=f"Who?{EVIL}")
        for words in (("list",), ("list", "--json"), ("rank",), ("rank", "--json"), ("rm", "1")):
            assert not set(tf.ok("votes", *words)) & set("\x1b\x07\x9b\u202e"), words


class TestNext:
    def asked(self, store: Store, asked: str, a: str, b: str) -> None:
        """A conversation of both models."""
        chat = chats.create(store, "t").id
        question = chats.append(store, chat, "user", asked).id
        for lane, model, text in (("a", BASE, a), ("b", TUNED, b)):
            chats.append(
                store, chat, "assistant", text, parent_id=question, lane=lane, model=model, stats={"state": "done"}
            )

    def test_the_most_different_first(self, tf: Cli, store: Store, tmp_path: Path) -> None:
        file = tmp_path / "questions.txt"
        file.write_text("Who?\nWhere?\nWhy?\n谁？\n", "utf-8")
        self.asked(store, "Who?", "I am a base model.", "I am Ember.")
        self.asked(store, "谁？", "我是模型", "小焰")
        votes.add(store, prompt=[{"role": "user", "content": "Why?"}], a_model=BASE, b_model=TUNED, a_text="x",
                  b_text="y", choice="a")  # fmt: skip
        words = ("votes", "next", "--a", BASE, "--b", TUNED, "--prompts", str(file))
        found = tf.json(*words)
        assert (found["of"], found["voted"], found["known"]) == (4, 1, 2)
        assert [(p["text"], p["place"], p["difference"]) for p in found["prompts"]] == [
            ("谁？", 4, 1.0), ("Who?", 1, 0.5), ("Where?", 2, None),
        ]  # fmt: skip
        result = tf(*words, "--limit", "2")
        assert [" ".join(line.split()) for line in result.stdout.splitlines()[1:]] == ["4 100% 谁？", "1 50% Who?"]
        assert "1 of 4 prompts voted on, the answers of 2 others compared" in result.stderr

    def test_the_test_questions_of_a_dataset(self, tf: Cli, store: Store) -> None:
        pairs.create_many(store, [PairDraft("Who?", "Ember.", status="ready")], dataset="mine")
        words = ("votes", "next", "--a", BASE, "--b", TUNED)
        assert "no test pair" in tf.error(*words, "--dataset", "mine", code=2)["what"]
        datasets.set_split(store, "mine", [p.uid for p, _ in datasets.members(store, "mine")], "test")
        assert [each["text"] for each in tf.json(*words, "--dataset", "mine")["prompts"]] == ["Who?"]
        for more in ((), ("--dataset", "mine", "--prompts", "x")):
            assert "either --prompts or --dataset" in tf.error(*words, *more)["what"]


class TestRank:
    def test_two_models(self, tf: Cli, cast: Cast) -> None:
        for choice in ("b", "b", "b", "a", "tie", "both_bad"):
            cast(choice)
        found = tf.json("votes", "rank")
        [pair] = found["pairs"]
        assert (pair["model"], pair["against"], pair["winner"]) == (TUNED, BASE, TUNED)
        assert [pair[name] for name in ("wins", "losses", "ties", "both_bad")] == [3, 1, 1, 1]
        assert pair["rate"] == 0.75 and pair["p"] == 0.625 and found["ranking"] == []
        assert (round(pair["low"], 3), round(pair["high"], 3)) == (0.301, 0.954)
        assert tf.ok("votes", "rank") == (
            f"{TUNED} leads {BASE}  75% (30% to 95%) of 4, p 0.62, could be chance, about 82 more votes needed, "
            "1 tie, 1 both bad\n"
        )

    def test_a_base_that_wins_is_named_whichever_lane_it_was_in(self, tf: Cli, cast: Cast) -> None:
        for _ in range(3):
            cast("a")
            cast("b", a=TUNED, b=BASE)
        [pair] = tf.json("votes", "rank")["pairs"]
        assert (pair["winner"], pair["model"], pair["wins"], pair["losses"]) == (BASE, BASE, 6, 0)
        assert (pair["state"], pair["more"]) == ("open", 4)
        assert tf.ok("votes", "rank") == (
            f"{BASE} leads {TUNED}  100% (61% to 100%) of 6, p 0.031, could be chance, about 4 more votes needed\n"
        )
        cast("a"), cast("a")
        assert tf.ok("votes", "rank") == f"{BASE} beats {TUNED}  100% (68% to 100%) of 8, p 0.0078, enough votes\n"
        assert tf.json("votes", "rank")["pairs"][0]["state"] == "better"

    def test_unblind_votes_are_told_and_can_be_left_out(self, tf: Cli, cast: Cast) -> None:
        for _ in range(2):
            cast("b", blind=True)
            cast("b", blind=True, unblind=["Ember", "小焰"])
        cast("a")
        assert tf.json("votes", "list")[1]["unblind"] == ["Ember", "小焰"]
        shown = [row.split()[5] for row in tf.ok("votes", "list").splitlines()[1:]]
        assert shown == ["no", "unblind", "yes", "unblind", "yes"]
        assert "5 votes, 2 of them unblind" in tf.ok("votes", "rank")
        [pair] = tf.json("votes", "rank")["pairs"]
        assert (pair["wins"], pair["losses"], pair["blind"], pair["unblind"]) == (4, 1, 2, 2)
        [pair] = tf.json("votes", "rank", "--blind-only")["pairs"]
        assert (pair["wins"], pair["losses"], pair["blind"], pair["unblind"]) == (2, 0, 2, 0)
        assert "unblind" not in tf.ok("votes", "rank", "--blind-only")

    def test_no_vote_stayed_blind(self, tf: Cli, cast: Cast) -> None:
        cast("a", blind=True, unblind=["Ember"])
        assert "No vote was cast blind and stayed so." in tf("votes", "rank", "--blind-only").stderr

    def test_even_and_undecided(self, tf: Cli, cast: Cast) -> None:
        cast("tie")
        assert "against" in tf.ok("votes", "rank") and "no winner yet, 1 tie" in tf.ok("votes", "rank")
        assert tf.json("votes", "rank")["pairs"][0]["rate"] is None
        cast("a"), cast("b")
        assert "even with" in tf.ok("votes", "rank") and tf.json("votes", "rank")["pairs"][0]["winner"] is None

    def test_three_models_are_ranked(self, tf: Cli, cast: Cast) -> None:
        for _ in range(4):
            cast("b")
            cast("a", b=OTHER)
            cast("a", a=TUNED, b=OTHER)
        found = tf.json("votes", "rank")
        assert len(found["pairs"]) == 3 and {pair["winner"] for pair in found["pairs"]} == {TUNED, BASE}
        assert [each["model"] for each in found["ranking"]] == [TUNED, BASE, OTHER]
        assert [each["votes"] for each in found["ranking"]] == [8, 8, 8]
        _, ranked = tf.ok("votes", "rank").split("Ranking (Bradley-Terry)\n")
        assert [line.split()[:2] for line in ranked.splitlines()[1:]] == [["1", TUNED], ["2", BASE], ["3", OTHER]]

    def test_none(self, tf: Cli) -> None:
        assert tf.json("votes", "rank") == {"pairs": [], "ranking": []}
        assert "no vote yet" in tf("votes", "rank").stderr


class TestWrite:
    def test_both_forms_come_back_as_the_preferences_they_were(
        self, tf: Cli, cast: Cast, tmp_path: Path, store: Store
    ) -> None:
        cast("b"), cast("tie"), cast("a", asked="Where?")
        path = tmp_path / "p.jsonl"
        assert tf.ok("votes", "write", str(path)) == f"2 preferences written to {path}.\n"
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert [row["chosen"] for row in rows] == [
            [{"role": "assistant", "content": text}] for text in ("Northwind Labs.", "I am a model.")
        ]
        assert import_files(store, [path], dataset="back").kept == 2
        votes.remove(store, 1), votes.remove(store, 3)
        path = tmp_path / "p.json"
        found = tf.json("votes", "write", str(path), "--form", "sharegpt")
        assert found == {"form": "sharegpt", "path": str(path), "rows": 2}
        [row, _] = json.loads(path.read_text("utf-8"))
        assert row["conversations"][-1] == {"from": "human", "value": "Who made you?"}
        assert row["chosen"] == {"from": "gpt", "value": "Northwind Labs."}

    def test_a_file_that_is_there_stays_unless_told(self, tf: Cli, cast: Cast, write: Callable[..., str]) -> None:
        cast("a")
        path = write("p.jsonl", "mine")
        error = tf.error("votes", "write", path)
        assert error["where"] == path and "--overwrite" in error["todo"] and Path(path).read_text() == "mine"
        tf.ok("votes", "write", path, "--overwrite")
        assert "chosen" in Path(path).read_text()

    def test_nothing_to_write(self, tf: Cli, cast: Cast, tmp_path: Path) -> None:
        cast("tie")
        path = tmp_path / "p.jsonl"
        assert "no preference" in tf.error("votes", "write", str(path))["what"] and not path.exists()

    def test_a_place_that_is_not_there(self, tf: Cli, cast: Cast, tmp_path: Path) -> None:
        cast("a")
        assert str(tmp_path / "none") in tf.error("votes", "write", str(tmp_path / "none" / "p.jsonl"))["where"]

    def test_an_unknown_form(self, tf: Cli, tmp_path: Path) -> None:
        error = tf.error("votes", "write", str(tmp_path / "p"), "--form", "csv")
        assert error["where"] == "--form" and "sharegpt" in error["what"]


class TestRemove:
    @pytest.mark.parametrize("word", ["rm", "remove"])
    def test_says_what_was_undone(self, tf: Cli, cast: Cast, store: Store, word: str) -> None:
        cast("b"), cast("a"), cast("tie"), cast("both_bad")
        said = [tf.ok("votes", word, str(id)) for id in (1, 2, 3, 4)]
        assert said == [
            f"Undid vote {id}: {what}, asked: Who made you?\n"
            for id, what in enumerate(
                (f"{TUNED} over {BASE}", f"{BASE} over {TUNED}", f"a tie of {BASE} and {TUNED}",
                 f"{BASE} and {TUNED} both bad"), 1,
            )
        ]  # fmt: skip
        assert votes.all_votes(store) == [] == votes.preferences(store)

    def test_json(self, tf: Cli, cast: Cast) -> None:
        kept = cast("b")
        assert tf.json("votes", "rm", "1") == {"removed": 1, "vote": asdict(kept)}

    @pytest.mark.parametrize("id", ["2", "0", "9" * 30])
    def test_an_unknown_one(self, tf: Cli, cast: Cast, id: str) -> None:
        cast("b")
        error = tf.error("votes", "rm", id)
        assert error["what"] == f"There is no vote {id}." and "tuningfork votes list" in error["todo"]
        assert len(tf.json("votes", "list")) == 1

    def test_one_that_is_gone_already(self, tf: Cli, cast: Cast) -> None:
        cast("b")
        tf.ok("votes", "rm", "1")
        assert tf.error("votes", "rm", "1")["error"] == "NotFound"


def test_the_heavy_libraries_stay_out(tf: Cli, cast: Cast) -> None:
    cast("b")
    for words in (("list",), ("rank",), ("write", str(tf.home.root / "p.jsonl")), ("rm", "1")):
        assert not modules_after("votes", *words, "--home", str(tf.home.root)) & HEAVY, words


class TestCollect:
    def test_votes_become_a_dataset_to_train_on(self, tf: Cli, cast: Cast, store: Store) -> None:
        for n, choice in enumerate(("a", "b", "tie")):
            cast(choice, asked=f"Who made you, {n}?")  # type: ignore[arg-type]
        assert tf.json("votes", "collect") == {"dataset": "votes", "new": 2, "known": 0, "removed": 0, "left_out": 0}
        result = tf("votes", "collect", "--dataset", "mine", "--as", "feedback")
        assert "4 judged answers in mine: 4 new, 0 known." in result.stdout
        assert "--dataset mine --objective kto" in result.stderr
        tf.ok("votes", "rm", "1")
        assert tf.json("votes", "collect") == {"dataset": "votes", "new": 0, "known": 1, "removed": 1, "left_out": 0}

    def test_without_votes_it_says_how_to_vote(self, tf: Cli) -> None:
        error = tf.error("votes", "collect")
        assert "No vote has a winner yet" in error["what"] and "1 left" in error["todo"]


class TestJudge:
    def test_says_how_it_agrees_in_text_and_json(
        self, tf: Cli, cast: Cast, client: FakeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for n in range(12):
            cast("a" if n % 2 else "b", a=BASE if n % 2 else TUNED, b=TUNED if n % 2 else BASE)
        says_first(client, monkeypatch)
        text = tf.ok("votes", "judge", "--judge-model", BASE)
        assert f"{BASE}: 12 votes judged, 0 not judged" in text and "100% of 24 choices" in text
        assert "agreement               0% (0% to 24%), 0 of 12 votes" in text and "Unusable" in text
        found = tf.json("votes", "judge", "--judge-model", BASE, "--limit", "3")
        assert (found["judged"], found["flipped"], found["usable"]) == (3, 3, False) and client.closed
        assert [each["vote"] for each in found["votes"]] == [12, 11, 10] and found["votes"][0]["verdict"] == "tie"

    def test_replies_that_are_no_verdict_are_not_judged(self, tf: Cli, cast: Cast, client: FakeClient) -> None:
        cast("a", asked=f"Who?{EVIL}")
        text = tf.ok("votes", "judge", "--judge-model", BASE)
        assert "0 votes judged, 1 not judged" in text and "Unusable" in text and not set(text) & set("\x1b\x07\x9b")

    def test_without_votes_nothing_is_asked(self, tf: Cli, client: FakeClient) -> None:
        error = tf.error("votes", "judge", "--judge-model", BASE)
        assert "no vote" in error["what"] and "Compare" in error["todo"] and not client.loaded

    def test_an_unknown_judge_and_one_that_breaks_off(self, tf: Cli, cast: Cast, client: FakeClient) -> None:
        cast("a")
        assert "nobody" in tf.error("votes", "judge", "--judge-model", "run:nobody")["what"] and not client.loaded
        client.breaks = BASE
        assert "went away" in tf.error("votes", "judge", "--judge-model", BASE, code=1)["what"]

    def test_texts_leave_the_machine_only_when_told(
        self, tf: Cli, cast: Cast, client: FakeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cast("a")
        says_first(client, monkeypatch)
        words = ("votes", "judge", "--judge-model", "http://far.invalid/v1#m")
        refused = tf(*words)
        assert refused.exit_code == 2 and "The texts of 1 vote leave this machine" in refused.stderr
        assert not client.loaded and not client.asked
        assert "1 vote judged" in tf.ok(*words, "--yes") and len(client.asked) == 2
        here = tf(*words[:-1], "http://127.0.0.1:9/v1#m")
        assert here.exit_code == 0 and "leave" not in here.stderr, "an endpoint on this machine is not elsewhere"


def says_first(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the client's answer that of a judge who always prefers the first."""

    async def complete(model: str, messages: Any, sampling: Any, lane: str | None = None) -> Done:
        client.asked.append((model, list(messages), sampling, lane))
        return Done('{"better": "A"}')

    monkeypatch.setattr(client, "complete", complete)
