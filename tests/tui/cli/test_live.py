"""`tuningfork chat` and `serve` with a real chat server on a tiny model; nothing is trained."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from engine.inference.client import shutdown
from store.db import Store
from tests.engine.chat_home import add_checkpoint, add_run, begin_run
from tests.engine.tiny_gguf import Lora, write_gguf
from tests.tui.cli.conftest import Cli

ROOT = Path(__file__).parents[3]
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


def test_the_openai_client_talks_to_what_serve_pinned(tf: Cli, store: Store, tmp_path: Path) -> None:
    add_run(store, "tuned", write_gguf(tmp_path / "tiny.gguf"), Lora())
    token = tmp_path / "token"
    token.write_text("a-secret-of-more-than-sixteen-letters\n")
    token.chmod(0o644)
    assert tf.error("serve", "--token-file", str(token))["todo"] == f"chmod 600 {token}"
    token.chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = ["serve", "--port", port, "--model", "run:tuned", "--token-file", str(token), "--home", str(tf.home.root)]
    server = subprocess.Popen(
        [sys.executable, "-m", "tui", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert server.stdout is not None
        while not server.stdout.readline().startswith("Serving at"):
            assert server.poll() is None
        url = f"http://127.0.0.1:{port}/v1"
        with openai.OpenAI(base_url=url, api_key=token.read_text().strip(), max_retries=0) as official:
            asked = {"model": "run:tuned", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 6}
            pieces = official.chat.completions.create(**asked, stream=True)
            text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
            assert text == official.chat.completions.create(**asked).choices[0].message.content
        stranger = openai.OpenAI(base_url=url, api_key="another", max_retries=0)
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        server.send_signal(signal.SIGINT)
        assert server.wait(15) == 130
    finally:
        server.kill()
        server.wait()
