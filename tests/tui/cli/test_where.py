"""Queries on the command line: `data search`, and --where of the commands that act on pairs."""

from __future__ import annotations

import json

import pytest
from click.shell_completion import ShellComplete

from store import pairs, query
from store.db import Store
from store.records import PairDraft
from tests.tui.cli.conftest import Cli
from tui.cli import cli
from tui.cli.session import Session


@pytest.fixture
def shop(store: Store) -> Store:
    for n in range(5):
        pairs.create(store, PairDraft(f"Question {n}?", f"Answer {n}", tags=("odd",) if n % 2 else ()), dataset="shop")
    return store


def test_search_takes_the_language_and_prints_one_line_of_json(tf: Cli, shop: Store) -> None:
    found = json.loads(tf.ok("data", "search", "dataset:shop -tag:odd", "--json"))
    assert [pair["question"] for pair in found] == ["Question 4?", "Question 2?", "Question 0?"]
    assert tf.ok("data", "search", "zebra", "--json") == "[]\n"
    assert len(tf.ok("data", "search", "--json").splitlines()) == 1


def test_a_wrong_query_is_the_users_mistake_with_its_place(tf: Cli, shop: Store) -> None:
    error = tf.error("data", "search", "question status:dn")
    assert error["where"] == "query, character 10" and "'dn'" in error["what"]


def test_mark_where(tf: Cli, shop: Store) -> None:
    assert tf.json("data", "mark", "draft", "--where", "tag:odd")["changed"] == 2
    assert len(tf.json("data", "search", "status:draft")) == 2
    assert tf.json("data", "undo")["pairs"] == 2
    assert tf.json("data", "search", "status:draft") == []


def test_rm_where_asks_and_is_one_edit(tf: Cli, shop: Store) -> None:
    assert "--yes" in tf.error("data", "rm", "--where", "tag:odd")["todo"]
    assert len(tf.json("data", "search")) == 5
    assert tf.json("data", "rm", "--where", "tag:odd", "--yes")["removed"] == 2
    tf.ok("data", "undo")
    assert len(tf.json("data", "search")) == 5
    assert tf.json("data", "rm", "--where", "/[34]/", "--dataset", "shop", "--yes")["removed"] == 2
    assert len(tf.json("data", "search")) == 5 and len(tf.json("data", "search", "dataset:shop")) == 3


@pytest.mark.parametrize("command", [("rm", "--yes"), ("mark", "draft")])
def test_nothing_is_never_everything(tf: Cli, shop: Store, command: tuple[str, ...]) -> None:
    assert "empty" in tf.error("data", *command, "--where", "  ")["what"]
    assert "No pair matches" in tf.error("data", *command, "--where", "zebra")["what"]
    assert "No row was named" in tf.error("data", *command)["what"]
    uid = query.uids(shop, "tag:odd")[0]
    assert "not both" in tf.error("data", *command, uid, "--where", "tag:odd")["todo"]
    assert len(tf.json("data", "search", "status:ready")) == 5


def test_queries_are_completed(tf: Cli, shop: Store) -> None:
    words = ["--home", str(tf.home.root), "data", "mark", "draft", "--where"]
    complete = ShellComplete(cli, {"obj": Session(home_given=str(tf.home.root))}, "tuningfork", "_T")
    assert [item.value for item in complete.get_completions(words, "dataset:s")] == ["dataset:shop"]


def test_the_help_of_search_names_every_filter(tf: Cli) -> None:
    text = tf.ok("data", "search", "--help")
    for name, found in query.FILTERS.items():
        assert name + (">" if found.compares else ":") in text or name + "<" in text, name
