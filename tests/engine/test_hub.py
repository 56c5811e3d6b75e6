"""Fetching a hub model on an explicit wish, from a hub of our own on this machine; nothing reaches the network."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.models import refs
from engine.training import run_control
from store.db import Store
from store.errors import NotFound

SHA = "a" * 40
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"the same weights again",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for: one public model, org/name."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/api/models/org/name/revision/"):
            siblings = [{"rfilename": file} for file in FILES]
            self._send(200, json.dumps({"id": "org/name", "sha": SHA, "siblings": siblings}).encode(), body=body)
        elif self.path.startswith("/api/models/org/name/tree/"):
            tree = [{"type": "file", "path": file, "size": len(data), "oid": SHA} for file, data in FILES.items()]
            self._send(200, json.dumps(tree).encode(), body=body)
        elif self.path.startswith("/org/name/resolve/") and name in FILES:
            self._send(200, FILES[name], body=body)
        else:
            self._send(404, b"", body=body)

    def _send(self, status: int, data: bytes, *, body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on loopback; the list of paths that it was asked for."""
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield Hub.asked
    server.shutdown()
    server.server_close()


def test_a_model_is_fetched_when_asked_for_and_then_stays(store: Store, hub: list[str]) -> None:
    with pytest.raises(NotFound, match="downloads nothing by itself"):
        refs.resolve(store, "org/name")
    assert hub == []
    said: list[str] = []
    folder = run_control.prepare(store, "org/name", said.append)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert not (folder / "pytorch_model.bin").exists(), "the same weights are not fetched twice"
    assert said == ["Fetching org/name from the Hugging Face hub."]
    hub.clear()
    assert refs.resolve(store, "org/name").folder == run_control.prepare(store, "org/name") == folder
    assert hub == []


def test_a_model_that_the_hub_does_not_have(store: Store, hub: list[str]) -> None:
    with pytest.raises(NotFound, match=r"org/other cannot be fetched") as caught:
        run_control.prepare(store, "org/other")
    assert "Check the name" in (caught.value.todo or "") and hub


def test_no_network(store: Store, hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NotFound, match="cannot be fetched"):
        run_control.prepare(store, "org/name")
