"""The protocol with child processes: messages in order, the child's own error, a child that ends badly,
an interrupt."""

from __future__ import annotations

import errno
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.core import child, files, process
from engine.core.child import Child
from store.errors import BadInput, NoSpace, Unsupported, WorkerError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", "import sys, time, json\nfrom engine.core import child\n" + code]


def run(code: str) -> list[dict[str, object]]:
    seen: list[dict[str, object]] = []
    child.run(python(code), "Counting", seen.append, env=process.environment())
    return seen


def test_messages_arrive_in_order_and_noise_is_no_message() -> None:
    code = "print('a library: {not json'); print('{broken'); print('[1]')\nfor n in range(3): child.send({'n': n})"
    assert run(code) == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(("kind", "code"), [(Unsupported, 2), (BadInput, 2), (WorkerError, 1)])
def test_the_childs_error_arrives_as_what_it_was(kind: type, code: int) -> None:
    raised = f"raise errors.{kind.__name__}('No.', where='here', todo='Do that.')"
    work = f"from store import errors\ndef work():\n    child.send({{'n': 1}})\n    {raised}\n"
    work += "sys.exit(child.report_errors(work))"
    with pytest.raises(kind) as raised_here:
        run(work)
    error = raised_here.value
    assert (error.what, error.where, error.todo, error.exit_code) == ("No.", "here", "Do that.", code)


def test_an_error_that_is_not_ours_is_described_by_the_child() -> None:
    with pytest.raises(WorkerError, match="described: ZeroDivisionError"):
        run("sys.exit(child.report_errors(lambda: 1 / 0, lambda e: f'described: {type(e).__name__}'))")


@pytest.mark.parametrize(
    ("end", "how"), [("sys.exit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 9)", "signal 9")]
)
def test_a_child_that_ends_badly_is_told_with_its_last_line(end: str, how: str) -> None:
    with pytest.raises(WorkerError, match=f"Counting failed .{how}.") as told:
        run(f"print('first'); print('the last word', file=sys.stderr, flush=True); {end}")
    assert told.value.todo == "the last word"


def test_a_child_never_waits_for_a_slow_reader() -> None:
    with Child(python("print('x' * 3_000_000); child.send({'n': 1})"), "Talking", env=process.environment()) as talker:
        deadline = time.monotonic() + 20
        while talker._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert talker._process.returncode == 0  # it ended before anything was read
        assert list(talker.messages()) == [{"n": 1}]


def test_an_interrupt_ends_the_child() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        Child(python("child.send({}); time.sleep(60)"), "Sleeping", env=process.environment()) as it,
    ):
        next(iter(it.messages()))
        pid = it._process.pid
        raise KeyboardInterrupt
    assert not psutil.pid_exists(pid)


# ---------------------------------------------------------------- files


def test_work_that_is_not_wanted_any_more_ends_the_silent_child() -> None:
    begun: list[int] = []
    code = "import os\nchild.send({'pid': os.getpid()})\ntime.sleep(600)"
    started = time.monotonic()
    with pytest.raises(child.ChildStopped):
        child.run(
            python(code),
            "Counting",
            lambda message: begun.append(int(str(message["pid"]))),
            env=process.environment(),
            stopped=lambda: bool(begun),
        )
    assert not psutil.pid_exists(begun[0])
    assert time.monotonic() - started < 60


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.json"
    files.write_whole(path, "old")
    assert path.stat().st_mode & 0o777 == 0o600

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError):
        files.write_whole(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_known_by_its_number_also_behind_another_error(number: int, tmp_path: Path) -> None:
    outer = RuntimeError("the library failed")
    outer.__cause__ = OSError(number, "…")
    assert files.is_disk_full(outer)
    with (
        pytest.raises(NoSpace, match="The disk filled up"),
        files.disk_full_as_no_space("The disk filled up.", tmp_path, "…"),
    ):
        raise outer
    with pytest.raises(ValueError), files.disk_full_as_no_space("The disk filled up.", tmp_path, "…"):
        raise ValueError("something else")


@pytest.mark.parametrize(("text", "what"), [("{", "not valid JSON"), ("[]", "not a JSON object"), (None, "missing")])
def test_what_is_wrong_with_a_json_file_is_said(tmp_path: Path, text: str | None, what: str) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=what):
        files.read_json(path)
    assert text is not None or files.read_json(path, optional=True) == {}
