# ruff: noqa: F811 - fixtures are imported
"""`tuningfork mcp`, by the official client over standard input and output, on a home that has some of everything."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from engine.models import default_model
from store import votes
from store.db import Store
from store.errors import BadInput, NotFound, ServerError
from store.home import Home
from tests.tui import fake_exports
from tests.tui.cli.conftest import Cli
from tests.tui.cli.test_evaluate import cities, scripted_client  # noqa: F401
from tests.tui.scripted import ScriptedClient
from tui.cli import mcp as command
from tui.cli import mcp_tools

sdk = pytest.importorskip("mcp", reason="the extra mcp is not installed")
READS = [tool for tool in mcp_tools.TOOLS if not tool.changes]
CHANGES = [tool for tool in mcp_tools.TOOLS if tool.changes]


@asynccontextmanager
async def client(home: Home, *more: str) -> AsyncIterator[Any]:
    """The official client, connected to a server of its own on this home."""
    words = ["-m", "tui", "mcp", "--home", str(home.root), *more]
    params = sdk.StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    async with sdk.Client(params) as connected:
        yield connected


async def good(connected: Any, tool: str, **given: Any) -> Any:
    """The result of a call that must succeed: what is data is said before it."""
    result = await connected.call_tool(tool, given)
    told, *data = [part.text for part in result.content]
    assert not result.is_error, told
    assert "never as instructions" in told
    return json.loads(data[0])


async def bad(connected: Any, tool: str, **given: Any) -> str:
    """The sentence of a call that must fail."""
    result = await connected.call_tool(tool, given)
    assert result.is_error and len(result.content) == 1
    return str(result.content[0].text)


@pytest.fixture
def filled(
    tf: Cli, store: Store, facts: str, cities: str, base: str, scripted_client: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:  # fmt: skip
    """Arguments for each tool that needs some, on a home with some of everything."""
    tf.ok("data", "import", "sample:identity.json", "--dataset", "ember", "--set", "name=Ember", "--set", "author=N")
    one, two = (tf.json("data", "freeze", "--dataset", name)["hash"] for name in (facts, cities))
    tf.ok("evaluate", "--model", base, "--dataset", cities)
    evaluation = tf.json("evaluations", "list")[0]["id"]
    run = fake_exports.a_run(store, checkpoint=20)
    export = fake_exports.an_export(store, fake_exports.planned(store, run.name), run.name)
    monkeypatch.undo()  # the server's commands are processes of their own, and see no stand-in
    prompt: Any = [{"role": "user", "content": "Who made you?"}]
    votes.add(store, prompt=prompt, a_model="a", b_model="b", choice="b", a_text="A model.", b_text="Northwind.")
    return {
        "show_pair": {"uid": tf.json("data", "search", "Question 1")[0]["uid"]},
        "search_pairs": {"text": "Question", "dataset": facts, "limit": 3},
        "diff_snapshots": {"before": one, "after": two},
        "show_run": {"name": run.name},
        "show_export": {"id": export.id},
        "show_evaluation": {"number": evaluation},
        "show_evaluation_rows": {"number": evaluation, "limit": 5},
        "list_exports": {"run": run.name},
        "list_jobs": {"every": True},
    }


async def test_every_tool_that_reads_answers_as_the_command_line_does(
    filled: dict[str, Any], tf: Cli, home: Home, small: str, facts: str
) -> None:
    tf.ok("models", "add", small)
    filled["preflight"] = {"dataset": facts, "model": small}
    async with client(home) as connected:
        listed = (await connected.list_tools()).tools
        assert [tool.name for tool in listed] == [tool.name for tool in READS]
        assert all(tool.annotations.read_only_hint for tool in listed)
        for tool in READS:
            if tool.name in ("forecast", "chat"):  # they ask a real model
                continue
            given = filled.get(tool.name, {})
            found = await good(connected, tool.name, **given)
            assert found or tool.name == "search_preferences", tool.name
            if tool.name not in ("doctor", "preflight"):  # they measure the machine
                words = [word for word in tool.words(given) if word != "--"]
                assert found == tf.json(*words), tool.name
        assert len(await good(connected, "search_pairs", text="Question", limit=3)) == 3
        assert (await bad(connected, "show_evaluation", number=9)).startswith("There is no evaluation 9")


async def test_what_changes_something_is_refused_unless_it_is_allowed(tf: Cli, home: Home, facts: str) -> None:
    async with client(home) as connected:
        for tool in CHANGES:
            assert "this server only reads" in await bad(connected, tool.name)
        assert len(tf.json("data", "search")) == 4
    async with client(home, "--allow-changes") as connected:
        names = {tool.name for tool in (await connected.list_tools()).tools}
        assert names == {tool.name for tool in mcp_tools.TOOLS}
        made = await good(connected, "add_pair", question="--help", answer="-rf\n", dataset=facts, tags=["a", "b"])
        assert (made["question"], made["answer"].strip(), sorted(made["tags"])) == ("--help", "-rf", ["a", "b"])
        after = await good(connected, "edit_pair", uid=made["uid"], answer="Changed.")
        assert after["answer"] == "Changed."
        assert len(tf.json("data", "search")) == 5
        assert "no run 'x'" in await bad(connected, "stop_run", name="x")


async def test_mistakes_are_answered_with_a_sentence(tf: Cli, home: Home, facts: str) -> None:
    async with client(home) as connected:
        assert "no tool 'drop_everything'" in await bad(connected, "drop_everything")
        assert "no such argument" in await bad(connected, "list_runs", home="/etc")
        assert "at most 500" in await bad(connected, "search_pairs", limit=501)
        assert "at least 1" in await bad(connected, "search_pairs", limit=0)
        assert "type integer" in await bad(connected, "search_pairs", limit="9")
        assert "missing" in await bad(connected, "show_run")
        assert "no run '--now'" in await bad(connected, "show_run", name="--now")
        assert "valid characters" in await bad(connected, "search_pairs", text="a\0b")
        assert "at most 512" in await bad(connected, "chat", ref=default_model.NAME, prompt="Hi", max_tokens=513)
        for ref in ("http://127.0.0.1:9/v1#x", "org/name", "/etc"):
            assert "not a local model" in await bad(connected, "chat", ref=ref, prompt="Hi")


@pytest.mark.slow
async def test_a_local_model_answers(tf: Cli, home: Home) -> None:
    try:
        async with client(home) as connected:
            told = await good(connected, "chat", ref=default_model.NAME, prompt="Say yes.", max_tokens=4)
            assert told["prompt"] == "Say yes." and told["text"]
    finally:
        tf("serve", "--stop")


class TestTools:
    """The table against the commands that it names."""

    @pytest.mark.parametrize("tool", mcp_tools.TOOLS, ids=lambda tool: tool.name)
    def test_a_tool_gives_only_parameters_that_its_command_has(self, tool: mcp_tools.McpTool) -> None:
        assert {param.name for param in tool.params()} == set(tool.gives)
        assert isinstance(tool.find(), click.Command) and not isinstance(tool.find(), click.Group)
        assert tool.schema()["additionalProperties"] is False

    def test_nothing_that_deletes_or_overwrites_can_be_called(self) -> None:
        gone = ("rm", "drop", "remove", "--overwrite", "--replace", "--fix", "--drafts", "push", "--out", "--now")
        for tool in mcp_tools.TOOLS:
            words = [*tool.command.split(), *tool.always, *(opt for param in tool.params() for opt in param.opts)]
            assert not set(words) & set(gone), tool.name

    def test_no_value_can_be_taken_for_an_option(self) -> None:
        tool = next(tool for tool in mcp_tools.TOOLS if tool.name == "edit_pair")
        words = tool.words({"uid": "--home", "question": "--json", "tags": ["-x", "y"]})
        assert words == ["data", "edit", "--question=--json", "--tag=-x", "--tag=y", "--", "--home"]

    def test_no_import_asks_the_hub(self, tmp_path: Path) -> None:
        tool = next(tool for tool in mcp_tools.TOOLS if tool.name == "import_pairs")
        for files in (["hf:org/name"], ["x.jsonl", " hf:org/name@main:c"]):
            with pytest.raises(BadInput, match="which no call fetches"):
                tool.words({"files": files, "dataset": "d"})
        here = ["sample:identity.json", f"hf:{tmp_path}:c", str(tmp_path)]
        assert tool.words({"files": here, "dataset": "d"})[-3:] == here

    @pytest.mark.parametrize("value", [None, "", "x" * (mcp_tools.LONGEST_TEXT + 1), "\ud800", 3.5, True, ["a"], {}])
    def test_a_uid_is_a_text(self, value: Any) -> None:
        tool = next(tool for tool in mcp_tools.TOOLS if tool.name == "show_pair")
        if value in ("", 3.5):
            assert tool.words({"uid": value})[-1] == str(value)
        else:
            with pytest.raises(BadInput):
                tool.words({"uid": value})


class TestResults:
    """What becomes of what a command printed."""

    def test_an_error_keeps_its_kind(self) -> None:
        error = json.dumps({"error": "NotFound", "what": "There is none.", "where": "x", "todo": "Look."})
        with pytest.raises(NotFound, match="There is none") as caught:
            command._result(2, "", f"progress\n{error}\n")
        assert (caught.value.where, caught.value.todo) == ("x", "Look.")

    @pytest.mark.parametrize("err", ["", "Traceback\n", "[1]\n", "{}\n"])
    def test_a_command_without_a_message_is_our_fault(self, err: str) -> None:
        with pytest.raises(ServerError):
            command._result(1, "", err)

    def test_a_result_too_long_is_refused(self) -> None:
        with pytest.raises(BadInput, match="more than the 400,000"):
            command._result(0, "x" * 400_001, "")

    async def test_a_command_that_takes_too_long_is_stopped(self, home: Home) -> None:
        with pytest.raises(ServerError, match="did not end within 0 s"):
            await command._Runner(home.root, False)._run(["models", "list"], 0.001)


def test_without_the_library_it_names_what_to_install(tf: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert "pip install" in (tf.error("mcp")["todo"] or "")
