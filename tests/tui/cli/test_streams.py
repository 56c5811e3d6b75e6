"""`-` is the standard input or output wherever a command takes a file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from engine.export import planning
from store import datasets, exports, pairs, probes, votes
from store.db import Store
from store.records import PairDraft, PreferenceDraft, Turn
from tests.tui.cli.conftest import Cli
from tui.cli import asking, export, probe, streams

ROWS = '{"instruction": "Where?", "output": "Here."}\n{"instruction": "When?", "output": "Now."}\n'
PROBES = '{"question": "Who are you?", "must": ["Ember"]}\n'


@pytest.fixture
def filled(store: Store) -> Store:
    pairs.create_many(store, [PairDraft("Who?", "Ember."), PairDraft("Größe?", "Groß.")], dataset="facts")
    votes.import_preferences(store, [PreferenceDraft((Turn("user", "Who?"),), "Ember", "Nobody")], dataset="facts")
    return store


@pytest.mark.parametrize("rows", [ROWS, f"[{ROWS.strip().replace(chr(10), ',')}]", "question,answer\nWhere?,Here.\n"])
def test_rows_are_imported_from_stdin(tf: Cli, rows: str) -> None:
    said = tf.ok("data", "import", "-", "--dataset", "facts", input=rows)
    assert "imported into facts" in said
    assert tf.json("data", "list")[0]["pairs"] == (1 if "," in rows[:10] else 2)


def test_errors_in_stdin_name_it_and_the_line(tf: Cli) -> None:
    result = tf("data", "import", "-", "--dataset", "facts", input="")
    assert result.exit_code == 2 and "stdin: The file is empty" in result.stderr
    result = tf("data", "import", "-", "--dataset", "facts", input='{"instruction": "", "output": {}}\n')
    assert result.exit_code == 2 and "stdin:1" in result.stderr and "/tmp" not in result.stderr
    result = tf("data", "import", "-", "-", "--dataset", "facts", input=ROWS)
    assert result.exit_code == 2 and "read once" in result.stderr


@pytest.mark.parametrize("format", ["openai", "alpaca", "csv", "preference"])
def test_a_dataset_is_written_to_stdout_alone(tf: Cli, filled: Store, format: str) -> None:
    for more in ((), ("--json",), ("--overwrite",)):
        out = tf.ok("data", "export", "-", "--dataset", "facts", "--format", format, *more)
        lines = out.splitlines()
        if format == "csv":
            assert lines[0] == '"system","question","answer"' and len(lines) == 3
        else:
            assert [type(json.loads(line)) for line in lines] == [dict] * (1 if format == "preference" else 2)
    assert "written" not in out


def test_what_goes_out_comes_in_again(tf: Cli, filled: Store) -> None:
    rows = tf.ok("data", "export", "-", "--dataset", "facts", "--format", "openai")
    tf.ok("data", "import", "-", "--dataset", "copy", input=rows)
    assert {d.name: d.pairs for d in datasets.all_datasets(filled)} == {"copy": 2, "facts": 2}


@pytest.mark.parametrize("form", ["trl", "sharegpt"])
def test_preferences_are_written_to_stdout(tf: Cli, filled: Store, form: str) -> None:
    (line,) = tf.ok("votes", "write", "-", "--form", form).splitlines()
    assert "Ember" in json.dumps(json.loads(line))


def test_nothing_is_written_to_stdout_when_it_fails(tf: Cli, filled: Store) -> None:
    result = tf("data", "export", "-", "--dataset", "nothing", "--format", "openai")
    assert result.exit_code == 2 and result.stdout == ""


@pytest.mark.parametrize("command", ["data", "votes"])
def test_devices_and_folders_are_refused(tf: Cli, filled: Store, tmp_path: Path, command: str) -> None:
    for place in ("/dev/null", "/dev/full", str(tmp_path)):
        words = ("data", "export", place, "--dataset", "facts", "--format", "openai")
        error = tf.error(*(words if command == "data" else ("votes", "write", place)), "--overwrite")
        assert error["where"] == place and ("device" in error["what"] or "folder" in error["what"])


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_prompts_probes_and_tokens_are_read_from_stdin(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "Who?\nWhere?\n")
    assert [p.text for p in asking.read_prompts(store, "-")] == ["Who?", "Where?"]
    stdin(monkeypatch, PROBES)
    from engine.evaluation import judges

    monkeypatch.setattr(probe, "session", lambda: type("S", (), {"store": store}))
    (found,) = probe._probes("-", judges.DEFAULT, {})
    assert found.question == "Who are you?" and probes.sets(store) == {}
    stdin(monkeypatch, "a-long-secret-token-for-clients\n")
    with streams.input_file("-") as path:
        assert path.stat().st_mode & 0o077 == 0 and path.read_text() == "a-long-secret-token-for-clients\n"
    assert not path.exists()


def test_probes_of_an_export_outlive_the_terminal(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "session", lambda: type("S", (), {"home": store.home}))
    stdin(monkeypatch, PROBES)
    path = export._probe_file("-")
    assert path.read_text() == PROBES and path.parent == store.home.cache
    assert export._probe_file("x.jsonl") == Path("x.jsonl").absolute()


def test_an_export_does_not_go_to_stdout(tf: Cli, store: Store) -> None:
    assert planning.BESIDE and exports.all_exports(store) == []
    with pytest.raises(Exception, match="several files"):
        planning._real(Path("-"))
