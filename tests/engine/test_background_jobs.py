"""Background jobs as real processes: states, progress, events, the queue, stopping, dying, a closed
terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core import jobs, process
from store import jobs as kept
from store.db import Store
from store.errors import Conflict, NotFound, Superseded, Unsupported, WorkerError
from store.records import END_STATES, Job, JobProgress
from tests.engine.fake_job import MODULE

Submit = Callable[..., Job]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def submit(store: Store, marks: Path) -> Iterator[Submit]:
    def queue(mode: str, kind: str = "count", **request: Any) -> Job:
        return jobs.submit(store, kind, f"{mode} it", MODULE, {"mode": mode, "marks": str(marks), **request})

    yield queue
    for job in kept.unfinished(store):
        if job.pid:
            process.kill_group(job.pid, job.pid_started or 0.0)


def until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def running(store: Store, job: Job) -> Callable[[], bool]:
    return lambda: kept.get(store, job.id).progress.done > 0


def test_a_job_runs_to_its_end_and_keeps_what_it_said(store: Store, submit: Submit) -> None:
    seen: list[JobProgress] = []
    said: list[str] = []
    job = submit("count", steps=4)
    assert job.state == "starting" and job.pid and job.pid != os.getpid()
    end = jobs.follow(store, job.id, lambda j: seen.append(j.progress), lambda e: said.append(e.text))
    assert (end.state, end.result, end.error) == ("succeeded", {"counted": 4}, None)
    assert end.progress == JobProgress("a", "counting", "step 4", 4, 4, None) and end.progress.share == 1.0
    assert seen[-1].done == 4 and said == ["It counted."]
    assert end.created_at <= (end.started_at or 0) <= (end.ended_at or 0)
    assert not (store.home.logs / f"job-{job.id}.log").exists()  # it wrote nothing


@pytest.mark.parametrize(
    ("mode", "kind", "what"),
    [("fail", Unsupported, "cannot do that"), ("break", WorkerError, "ZeroDivisionError: division by zero")],
)
def test_a_job_that_fails_says_why_as_the_error_it_was(
    store: Store, submit: Submit, marks: Path, mode: str, kind: type[Exception], what: str
) -> None:
    end = jobs.follow(store, submit(mode).id)
    assert end.state == "failed" and list(marks.iterdir()) == []
    with pytest.raises(kind, match=what):
        jobs.raise_error(end)


def test_a_job_that_is_killed_is_lost_and_its_last_words_are_told(store: Store, submit: Submit) -> None:
    end = jobs.follow(store, submit("die").id)
    assert end.state == "lost"
    with pytest.raises(WorkerError, match=r"SIGKILL.*last words"):
        jobs.raise_error(end)


def test_one_of_a_kind_at_a_time_others_beside_it(store: Store, submit: Submit) -> None:
    first, second, other = submit("sleep", steps=400), submit("count"), submit("count", kind="other")
    assert second.state == "queued" and other.state == "starting"
    assert jobs.follow(store, other.id).state == "succeeded"
    assert kept.get(store, second.id).state == "queued"
    jobs.stop(store, first.id)
    assert jobs.follow(store, second.id).state == "succeeded"
    assert [job.id for job in kept.all_jobs(store)] == [other.id, second.id, first.id]


def test_a_queued_job_leaves_the_queue_at_once(store: Store, submit: Submit) -> None:
    first, second = submit("sleep", steps=400), submit("count")
    assert jobs.stop(store, second.id).state == "stopped"
    assert kept.get(store, first.id).state in ("starting", "running")
    with pytest.raises(Conflict, match="was stopped"):
        jobs.stop(store, second.id)


@pytest.mark.parametrize("mode", ["sleep", "stubborn"])
def test_a_job_that_is_stopped_undoes_what_it_began_or_is_killed(
    store: Store, submit: Submit, marks: Path, mode: str
) -> None:
    job = submit(mode, steps=400 if mode == "sleep" else 1)
    until(running(store, job))
    end = jobs.stop(store, job.id, wait_s=20 if mode == "sleep" else 0.5)
    assert end.state == "stopped" and end.error is None
    assert bool(list(marks.iterdir())) == (mode == "stubborn")  # a killed one undoes nothing
    until(lambda: not process.is_running(end.pid or 0, end.pid_started or 0.0))


def test_now_kills_at_once(store: Store, submit: Submit) -> None:
    job = submit("sleep", steps=400)
    until(running(store, job))
    assert jobs.stop(store, job.id, now=True).state == "stopped"


def test_a_job_survives_the_terminal_that_started_it(store: Store, marks: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom engine.core import jobs\nfrom store.db import Store\n"
        "from store.home import Home\n"
        f"with Store.open(Home(Path({str(store.home.root)!r}))) as store:\n"
        f"    jobs.submit(store, 'count', 'x', {MODULE!r}, "
        f"{{'mode': 'sleep', 'steps': 30, 'marks': {str(marks)!r}}})\n"
        "import os, signal\nos.killpg(0, signal.SIGHUP)\n"  # what a closed terminal does
    )
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env=process.environment())
    assert parent.wait(60) == -signal.SIGHUP
    (job,) = kept.all_jobs(store)
    until(running(store, job))
    assert jobs.follow(store, job.id).state == "succeeded"


def test_a_process_whose_job_was_ended_writes_nothing_more(store: Store, submit: Submit) -> None:
    job = submit("sleep", steps=400)
    until(running(store, job))
    kept.mark_ended(store, job.id, "lost")
    until(lambda: not process.is_running(job.pid or 0, job.pid_started or 0.0))
    assert kept.get(store, job.id).state == "lost"
    for write in (kept.beat, kept.claim):
        with pytest.raises(Superseded):
            write(store, job.token)


def test_a_process_whose_start_was_not_written_down_does_nothing(store: Store, marks: Path) -> None:
    job = kept.create(store, kind="count", name="x", module=MODULE, request={"mode": "count", "marks": str(marks)})
    argv = process.module_command(MODULE, "--home", str(store.home.root), "--token", job.token)
    assert subprocess.run(argv, env=process.environment(), check=False).returncode == jobs.SUPERSEDED
    assert kept.get(store, job.id) == job


def test_a_job_of_another_host_is_lost_when_it_is_silent(store: Store) -> None:
    job = kept.create(store, kind="count", name="far", module=MODULE, request={})
    kept.set_process(store, job.id, host="elsewhere", pid=1, pid_started=1.0, log_path="logs/x.log")
    assert jobs.reap(store) == []
    with store.write() as conn:
        conn.execute("UPDATE job SET heartbeat_at = heartbeat_at - ?", (int(process.SILENT_ELSEWHERE_S * 1000) + 1000,))
    (lost,) = jobs.reap(store)
    assert lost.state == "lost" and lost.state in END_STATES and "elsewhere" in str(lost.error)


def test_a_job_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match="no job 7"):
        jobs.stop(store, 7)
