"""The one protocol between a process and the child process that works for it: JSON objects, one per line, on its
standard output. Whatever else the child prints comes from libraries; the last line is kept for error messages.

    {"progress": …} or any other object    something for the parent, in order
    {"error", "what", "where", "todo"}     the child's one error (`TuningforkError.as_dict`), its last object

`Child` is the parent's end, `send` and `report_errors` are the child's. What the objects mean is up to the two.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from store import errors
from store.errors import TuningforkError, WorkerError

_NOISE = 300  # characters of the last line
_LOOK_S = 0.1  # between two looks at whether the work is still wanted


class ChildStopped(Exception):
    """Who wanted the work wants it no more: the child was killed. No error, and shown to no one."""


class Child:
    """A process that works for this one and ends with it. `what` begins the message of its failure: "Preparing x".

    A thread reads its output all the time, so a child never waits for a slow reader. Use it as a context manager: when
    the block is left, by an interrupt too, the child is killed. OSError when it cannot be started. One that `asks`
    waits with `wait_for_leave` until `go_on` is called.
    """

    def __init__(
        self,
        argv: Sequence[str],
        what: str,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        asks: bool = False,
    ) -> None:
        self._what = what
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._noise = ""
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if asks else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=cwd,
            env=None if env is None else dict(env),
        )
        self._reader = threading.Thread(target=self._read, name=f"reads {what}", daemon=True)
        self._reader.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def messages(self, stopped: Callable[[], bool] | None = None) -> Iterator[dict[str, Any]]:
        """What the child sends, until it has ended. Raises the error that it sent, as what it was; WorkerError when it
        ended badly without one, with the last line of its noise; ChildStopped soon after `stopped` says so."""
        while (message := self._next(stopped)) is not None:
            if "error" in message:
                self._process.wait()
                raise _error(message, self._what)
            yield message
        code = self._process.wait()
        if code != 0:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise WorkerError(f"{self._what} failed ({how}).", todo=self._noise or None)

    def _next(self, stopped: Callable[[], bool] | None) -> dict[str, Any] | None:
        if stopped is None:
            return self._messages.get()
        while not stopped():
            with contextlib.suppress(queue.Empty):
                return self._messages.get(timeout=_LOOK_S)
        raise ChildStopped

    def go_on(self) -> None:
        """Let a child that waits for leave go on. Nothing happens to one that has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def wait(self) -> None:
        """Wait for the end of a child that sends nothing but an error. Raises what `messages` raises."""
        for _ in self.messages():
            pass

    def close(self) -> None:
        """Kill the child unless it has ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._reader.join(1.0)  # a grandchild may hold the pipe open
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed while reading
            for line in self._process.stdout:
                message = _parse(line)
                if message is not None:
                    self._messages.put(message)
                else:
                    self._noise = line.strip()[:_NOISE] or self._noise
        self._messages.put(None)


def run(
    argv: Sequence[str],
    what: str,
    on_message: Callable[[dict[str, Any]], None] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stopped: Callable[[], bool] | None = None,
) -> None:
    """Run a child to its end; `on_message` gets what it sends. Raises what `Child.messages` raises."""
    with Child(argv, what, env=env, cwd=cwd) as child:
        for message in child.messages(stopped):
            if on_message is not None:
                on_message(message)


# ---------------------------------------------------------------- the child's end


def send(message: Mapping[str, Any]) -> None:
    """Send one object to the parent. KeyboardInterrupt when the parent is gone: the work is not wanted any more."""
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        raise KeyboardInterrupt from None


def wait_for_leave() -> None:
    """Wait until the parent calls `go_on`. KeyboardInterrupt when it is gone, or wants the work no more."""
    if not sys.stdin.readline():
        raise KeyboardInterrupt


def report_errors(work: Callable[[], object], describe: Callable[[BaseException], str] = str) -> int:
    """Do the child's work and send its error, if any: ours as it is, another as WorkerError in the words of `describe`.

    Returns the exit code of the process: 0, the error's own, or 1.
    """
    try:
        work()
    except TuningforkError as error:
        send(error.as_dict())
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        send(WorkerError(describe(error)).as_dict())
        return 1
    return 0


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _error(message: Mapping[str, Any], what: str) -> TuningforkError:
    kind = errors.kind_named(message["error"], WorkerError)
    return kind(str(message.get("what") or f"{what} failed."), where=message.get("where"), todo=message.get("todo"))
