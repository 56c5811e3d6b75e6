"""An OpenAI-compatible endpoint on loopback that judges by a rule: for tests of runs whose answers a model rewards."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Rule = Callable[[str], str]


def graded(prompt: str) -> str:
    """The answer that a judge's prompt asks to grade."""
    found = re.search(r"The answer to grade:\n<(text-\w+)>\n(.*?)\n</\1>", prompt, re.DOTALL)
    assert found, prompt
    return found[2]


def counting(letter: str) -> Rule:
    """A judge that wants a letter: one point for each, ten at most."""
    return lambda prompt: json.dumps({"score": min(10, graded(prompt).count(letter))})


class JudgeServer:
    """`rule` gives the reply to a prompt; where it raises RuntimeError, the request fails with its text. With
    `schemas` False a request with a schema is refused. `asked` are the bodies of all requests, `keys` their keys."""

    def __init__(self, rule: Rule, *, schemas: bool = True) -> None:
        self.rule, self.schemas = rule, schemas
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.ref = ""

    def prompts(self) -> list[str]:
        """What was asked, without the first question of an attempt, which only tries the judge."""
        texts = [body["messages"][-1]["content"] for body in self.asked]
        return [text for text in texts if "What is two and two?" not in text]

    def reply(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(body)
        if not self.schemas and "response_format" in body:
            return 400, {"error": {"message": "response_format is not supported"}}
        try:
            text = self.rule(body["messages"][-1]["content"])
        except RuntimeError as error:
            return 503, {"error": {"message": str(error)}}
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


@contextmanager
def judging(rule: Rule, *, schemas: bool = True) -> Iterator[JudgeServer]:
    """A judge that can be asked as `server.ref`."""
    judge = JudgeServer(rule, schemas=schemas)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": "judge"}]})

        def do_POST(self) -> None:
            judge.keys.add(self.headers.get("authorization"))
            self._send(*judge.reply(json.loads(self.rfile.read(int(self.headers["content-length"])))))

        def _send(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            """Not told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    judge.ref = f"http://127.0.0.1:{server.server_port}/v1#judge"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
