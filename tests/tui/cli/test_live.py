"""`tuningfork chat` with a run that goes on, through a real chat server on a tiny model; nothing is trained."""

from __future__ import annotations

from pathlib import Path

from engine.client import shutdown
from store.db import Store
from tests.engine.chat_home import add_checkpoint, begin_run
from tests.engine.tiny_gguf import write_gguf
from tests.tui.cli.conftest import Cli

ASK = ("chat", "run:live", "--max-tokens", "6", "--prompt", "Hello there")


def test_each_question_goes_to_the_newest_checkpoint(tf: Cli, store: Store, tmp_path: Path) -> None:
    begin_run(store, "live", write_gguf(tmp_path / "tiny.gguf"))
    refused = tf.error(*ASK)
    assert refused["error"] == "Conflict" and "no checkpoint yet" in refused["what"]
    assert "runs watch live" in refused["todo"]
    try:
        add_checkpoint(store, "live", 10)
        assert tf.json(*ASK)["model"] == "run:live@10"
        add_checkpoint(store, "live", 20)
        assert tf.json(*ASK)["model"] == "run:live@20"
        said = tf(*ASK)
        assert said.exit_code == 0 and "its checkpoint of step 20 answered" in said.stderr
    finally:
        shutdown(tf.home)
