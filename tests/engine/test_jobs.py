"""Runs as processes: the queue, launching, stopping, resuming, what a reader sees.
Workers are real processes; training is a stand-in."""

from __future__ import annotations

import errno
import itertools
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine.core import process
from engine.training import run_control
from engine.training.config import TrainConfig
from store import datasets, pairs, runs
from store.db import Store
from store.errors import BadInput, Conflict, NoSpace, NotFound, Unsupported, UserError, WorkerError
from store.home import Home
from store.records import END_STATES, Attempt, PairDraft, Run
from tests.engine import fake_worker, toys
from tests.holding import DEADLINE_S, release

Submit = Callable[..., Run]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.03)


def started(store: Store, name: str) -> Attempt:
    attempt = run_control.start(store, name)
    assert attempt is not None
    return attempt


def stepping(store: Store, name: str) -> Attempt:
    """Start a run and wait for its first step."""
    attempt = started(store, name)
    until(lambda: runs.get(store, name).step >= 1)
    return attempt


def ended(store: Store, name: str) -> Run:
    until(lambda: run_control.reap(store) or runs.get(store, name).state in END_STATES)
    return runs.get(store, name)


class TestSubmit:
    def test_freezes_names_and_queues(self, store: Store, submit: Submit, fake_base: Path) -> None:
        first, second = submit(), submit()
        assert (first.name, second.name, first.state) == ("facts-1", "facts-2", "queued")
        assert first.snapshot == second.snapshot == datasets.freeze(store, "facts").hash
        assert first.base == first.config["model"] == str(fake_base)
        assert TrainConfig.from_json(first.config).hash() == first.config_hash

    def test_a_relative_model_path_is_kept_absolute(
        self, store: Store, fake_base: Path, fake_data: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(fake_base.parent)
        run = run_control.submit(store, TrainConfig(model=f"./{fake_base.name}"), fake_data)
        assert run.base == run.config["model"] == str(fake_base)

    def test_a_taken_name_writes_nothing(self, store: Store, submit: Submit) -> None:
        submit(name="ember")
        pairs.create(store, PairDraft("new", "content"), dataset="facts")
        before = store.scalar("SELECT count(*) FROM snapshot")
        with pytest.raises(Conflict, match="ember"):
            submit(name="ember")
        assert store.scalar("SELECT count(*) FROM snapshot") == before

    def test_takes_a_snapshot_or_its_hash(self, store: Store, submit: Submit, fake_base: Path) -> None:
        frozen = datasets.freeze(store, "facts")
        config = TrainConfig(model=str(fake_base))
        assert run_control.submit(store, config, frozen).snapshot == frozen.hash
        assert run_control.submit(store, config, frozen.hash[:8]).snapshot == frozen.hash

    def test_says_what_cannot_be_trained(self, store: Store, submit: Submit, fake_base: Path) -> None:
        config = TrainConfig(model=str(fake_base))
        with pytest.raises(NotFound, match="no-such-data"):
            run_control.submit(store, config, "no-such-data")
        with pytest.raises(NotFound, match="no-such-model"):
            submit(model="no-such-model")
        with pytest.raises(Unsupported, match="cannot be trained"):
            submit(model="http://localhost:1/v1#x")
        datasets.create(store, "drafts")
        pairs.create(store, PairDraft("q", "a", status="draft"), dataset="drafts")
        with pytest.raises(UserError, match="1 draft"):
            run_control.submit(store, config, "drafts")
        assert runs.all_runs(store) == []


class TestLife:
    def test_a_run_from_queue_to_adapter(self, store: Store, submit: Submit) -> None:
        run = submit("quick")
        attempt = started(store, run.name)
        heard, numbers = [], []
        run = run_control.wait(store, run.name, heard.append, numbers.extend, poll_s=0.05)
        assert (run.state, run.step, run.total_steps, run.error) == ("succeeded", 4, 4, None)
        assert run.adapter == f"runs/{run.uid}/adapter"
        assert [m.step for m in numbers if m.name == "loss"] == [1, 2, 3, 4]
        states = [event.body["state"] for event in heard if event.kind == "state"]
        assert states == ["running", "succeeded"]
        assert store.home.absolute(attempt.log_path).stat().st_mode & 0o777 == 0o600
        assert runs.attempts(store, run.id)[0].exit == "0"

    def test_the_worker_is_a_session_without_a_terminal(self, store: Store, submit: Submit) -> None:
        attempt = stepping(store, submit("hold").name)
        assert os.getsid(attempt.pid) == attempt.pid != os.getsid(0)
        worker = psutil.Process(attempt.pid)
        assert worker.terminal() is None
        assert Path(f"/proc/{attempt.pid}/fd/0").readlink() == Path("/dev/null")
        env = worker.environ()
        assert env["TOKENIZERS_PARALLELISM"] == "false" and env["HF_HUB_OFFLINE"] == "1"
        assert env["OMP_NUM_THREADS"] == str(process.cores())

    def test_threads_of_the_config_reach_the_worker(self, store: Store, submit: Submit) -> None:
        attempt = stepping(store, submit("hold", threads=1).name)  # just after its start, /proc has no environment yet
        assert psutil.Process(attempt.pid).environ()["OMP_NUM_THREADS"] == "1"

    def test_starting_again_changes_nothing(self, store: Store, submit: Submit) -> None:
        name = submit("hold").name
        assert started(store, name).id == started(store, name).id

    def test_an_ended_run_does_not_start(self, store: Store, submit: Submit) -> None:
        name = submit("quick").name
        started(store, name)
        assert ended(store, name).state == "succeeded"
        with pytest.raises(Conflict, match=r"already ended \(done\)"):
            run_control.start(store, name)
        with pytest.raises(Conflict, match="is done"):
            run_control.resume(store, name)
        with pytest.raises(Conflict, match="already ended"):
            run_control.stop(store, name)

    def test_a_process_that_cannot_start_leaves_the_run_queued(
        self, store: Store, submit: Submit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = submit("quick").name
        monkeypatch.setattr(process, "command", lambda *a: ["/no/such/python"])
        with pytest.raises(WorkerError, match="cannot be started"):
            run_control.start(store, name)
        assert runs.get(store, name).state == "queued" and not runs.attempts(store, runs.get(store, name).id)

    def test_a_worker_without_an_attempt_leaves(self, store: Store, fake_workers: None) -> None:
        """What happens to a worker whose launcher died before its transaction was through."""
        argv = process.command("run", "--home", str(store.home.root), "--token", "nobody")
        done = subprocess.run(argv, env=process.environment(), capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 75 and "nothing to do" in done.stderr

    def test_a_full_disk_is_said_at_the_start(
        self, store: Store, submit: Submit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = submit("quick").name

        def full(*args: object, **named: object) -> tuple[int, float]:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(process, "spawn", full)
        with pytest.raises(NoSpace):
            run_control.start(store, name)
        assert runs.get(store, name).state == "queued"

    def test_numbers_of_one_step_may_come_in_two_writes(self, store: Store, submit: Submit) -> None:
        run = submit("quick")
        runs.open_attempt(store, run.id, host=process.here(), pid=1, pid_started=1, token="t", log_path="x")
        seen = run_control.MetricReader(run.id)
        runs.record(store, "t", 1, {"loss": 2.0})
        assert [m.name for m in seen.fresh(store)] == ["loss"]
        runs.record(store, "t", 1, {"val_loss": 3.0})
        runs.record(store, "t", 2, {"loss": 1.0})
        assert [(m.step, m.name) for m in seen.fresh(store)] == [(1, "val_loss"), (2, "loss")]
        assert seen.fresh(store) == []

    def test_remove_takes_row_and_folder(self, store: Store, submit: Submit) -> None:
        name = submit("hold").name
        stepping(store, name)
        with pytest.raises(Conflict):
            run_control.remove(store, name)
        run = run_control.stop(store, name, now=True)
        run_control.remove(store, name)
        assert list(store.home.runs.iterdir()) == [] and not store.home.run_dir(run.uid).exists()
        with pytest.raises(NotFound):
            runs.get(store, name)


class TestQueue:
    def test_one_at_a_time_first_come_first_served(self, store: Store, submit: Submit) -> None:
        names = [submit(mode, name=name).name for mode, name in (("hold", "c"), ("quick", "a"), ("quick", "b"))]
        started(store, "c")
        assert run_control.start(store, "b") is None, "b waits: c is live and a came first"
        assert run_control.status(store, "b").phase == "waits for c"
        release(store, "c")
        for name in names:
            assert ended(store, name).state == "succeeded"
        spans = [runs.attempts(store, runs.get(store, name).id)[0] for name in names]
        for earlier, later in itertools.pairwise(spans):
            assert earlier.ended_at is not None and earlier.ended_at <= later.started_at

    def test_the_worker_that_ends_starts_the_next(self, store: Store, submit: Submit) -> None:
        submit("crash", name="one"), submit("quick", name="two")
        started(store, "one")
        until(lambda: runs.get(store, "two").state == "succeeded")  # nobody polls with reap here
        assert runs.get(store, "one").state == "failed"

    def test_a_killed_worker_does_not_stall_the_queue(self, store: Store, submit: Submit) -> None:
        submit("hold", name="one"), submit("quick", name="two")
        attempt = stepping(store, "one")
        os.kill(attempt.pid, signal.SIGKILL)
        until(lambda: "one" in run_control.reap(store))
        assert ended(store, "two").state == "succeeded"

    def test_a_stopped_run_leaves_the_queue(self, store: Store, submit: Submit) -> None:
        submit("hold", name="one"), submit(name="two")
        started(store, "one")
        assert run_control.stop(store, "two").state == "stopped"
        assert runs.next_queued(store) is None

    def test_racing_launchers_start_one_process(self, store: Store, submit: Submit) -> None:
        """Six processes race to start the same run: one attempt, one worker."""
        name = submit("hold").name
        code = (
            "import sys; from pathlib import Path\n"
            "from engine.core import process; from engine.training import run_control;"
            "from store.db import Store; from store.home import Home\n"
            "from tests.engine import fake_worker; process.command = fake_worker.argv\n"
            "with Store.open(Home(Path(sys.argv[1]))) as store:\n"
            "    print('ready', flush=True); sys.stdin.readline(); print(run_control.start_next(store) is not None)\n"
        )
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(store.home.root)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=process.environment(),
            )
            for _ in range(6)
        ]  # fmt: skip
        assert [racer.stdout.readline().strip() for racer in racers if racer.stdout] == ["ready"] * 6
        for racer in racers:  # all at once: communicate() would wait for each
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        won = [racer.communicate(timeout=DEADLINE_S)[0].strip() for racer in racers]
        assert sorted(won) == ["False"] * 5 + ["True"]
        assert len(runs.attempts(store, runs.get(store, name).id)) == 1
        assert runs.live_attempt(store, runs.get(store, name).id) is not None
        release(store, name)
        assert ended(store, name).state == "succeeded"


class TestStop:
    def test_stop_saves_and_resume_goes_on(self, store: Store, submit: Submit) -> None:
        name = submit("hold").name
        stepping(store, name)
        run_control.stop(store, name)
        run = ended(store, name)
        assert run.state == "stopped" and run.adapter is None
        saved = runs.checkpoints(store, run.id)[-1]
        assert saved.step == run.step == 1, "a stop is followed at the step that is done"
        attempt = run_control.resume(store, name)
        assert attempt is not None and attempt.n == 2 and attempt.resume_from == saved.step
        run = ended(store, name)
        assert (run.state, run.step) == ("succeeded", 4)
        assert [m.step for m in runs.metrics(store, run.id, ["loss"])] == [1, 2, 3, 4]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_stops_with_a_checkpoint(self, store: Store, submit: Submit, number: int) -> None:
        name = submit("hold").name
        os.kill(stepping(store, name).pid, number)
        assert ended(store, name).state == "stopped"
        assert runs.checkpoints(store, runs.get(store, name).id)

    def test_a_signalled_worker_starts_nothing(self, store: Store, submit: Submit) -> None:
        """At a shutdown every process gets SIGTERM: a worker started then would only be killed."""
        submit("hold", name="one"), submit("quick", name="two")
        attempt = stepping(store, "one")
        os.kill(attempt.pid, signal.SIGTERM)
        until(lambda: process.is_running(attempt.pid, attempt.pid_started) is False)
        assert runs.get(store, "one").state == "stopped" and runs.get(store, "two").state == "queued"
        assert ended(store, "two").state == "succeeded", "the next poll sets the queue going"

    def test_stop_is_heard_before_the_first_step(self, store: Store, submit: Submit) -> None:
        name = submit("quick").name
        with store.write():  # the worker cannot claim before it is to stop
            started(store, name)
            runs.set_wanted(store, name, "stop")
        run = ended(store, name)
        assert (run.state, run.step) == ("stopped", 0) and not runs.checkpoints(store, run.id)

    def test_stop_now_kills_the_whole_group(self, store: Store, submit: Submit) -> None:
        name = submit("child").name
        attempt = stepping(store, name)
        child = int((store.home.run_dir(runs.get(store, name).uid) / "child.pid").read_text())
        assert psutil.pid_exists(child)
        run = run_control.stop(store, name, now=True)
        assert run.state == "lost" and not run_control.alive(attempt)
        until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)

    def test_a_closed_terminal_does_not_end_the_run(self, store: Store, submit: Submit) -> None:
        """The launcher runs in a real terminal session, which is then closed under it."""
        name = submit("hold").name
        code = (
            "import sys, time; from pathlib import Path\n"
            "from engine.core import process; from engine.training import run_control;"
            "from store.db import Store; from store.home import Home\n"
            "from tests.engine import fake_worker; process.command = fake_worker.argv\n"
            "with Store.open(Home(Path(sys.argv[1]))) as store:\n"
            "    run_control.start(store, sys.argv[2])\n"
            "time.sleep(600)\n"
        )
        env = process.environment()
        pid, master = pty.fork()
        if pid == 0:
            os.execve(sys.executable, [sys.executable, "-c", code, str(store.home.root), name], env)
        until(lambda: runs.get(store, name).step >= 1)
        os.close(master)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP, "the terminal's own processes went"
        release(store, name)
        assert ended(store, name).state == "succeeded"


class TestStatus:
    def test_says_nothing_it_cannot_know(self, store: Store, submit: Submit) -> None:
        name = submit("quick").name
        seen = run_control.status(store, name)
        assert (seen.rate, seen.seconds_left, seen.loss, seen.elapsed, seen.hung) == (None, None, None, 0, False)
        assert seen.phase == "waits to start"

    def test_rate_and_time_left_come_from_this_attempt(
        self, store: Store, submit: Submit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = submit("quick", steps=100)
        clock = iter(range(1_000_000, 10_000_000, 1000))
        at = [next(clock)]
        for module in ("store.worker", "store.runs", "engine.training.run_control"):
            monkeypatch.setattr(f"{module}.now", lambda: at[0])
        token = "a-token"
        runs.open_attempt(
            store, run.id, host=process.here(), pid=os.getpid(), pid_started=process.started_at(os.getpid()) or 0,
            token=token, log_path="x.log",
        )  # fmt: skip
        runs.say(store, token, "Loading the model")
        assert run_control.status(store, run.name).phase == "Loading the model"
        runs.set_state(store, token, "running", total_steps=100)
        for step in range(1, 11):
            at[0] = next(clock) if step % 2 else at[0] + 3000  # unsteady steps
            runs.record(store, token, step, {"loss": 2.0})
            if step == 1:
                assert run_control.status(store, run.name).rate is None, "one step gives no rate"
        points = [m.at for m in runs.metrics(store, run.id, ["loss"])]
        rate = 9000 / (points[-1] - points[0])
        seen = run_control.status(store, run.name)
        assert seen.rate == pytest.approx(rate) and seen.seconds_left == pytest.approx(90 / rate)
        at[0] += 2000
        assert run_control.status(store, run.name).seconds_left == pytest.approx(90 / rate - 2)
        runs.record(store, token, 100, {"loss": 1.0})
        runs.say(store, token, "Saving the adapter")
        done = run_control.status(store, run.name)
        assert (done.seconds_left, done.phase) == (None, "Saving the adapter"), "nobody knows how long that takes"

    def test_a_resumed_run_has_no_rate_from_before(self, store: Store, submit: Submit) -> None:
        name = submit("hold=3").name
        until(lambda: started(store, name) and runs.get(store, name).step >= 3)
        assert run_control.status(store, name).rate
        run_control.stop(store, name)
        run = ended(store, name)
        assert run_control.status(store, name).rate is None
        runs.queue(store, name)
        runs.open_attempt(store, run.id, host="elsewhere", pid=1, pid_started=1, token="t", log_path="x")
        seen = run_control.status(store, name)
        assert seen.rate is None and seen.seconds_left is None and seen.loss is not None


def test_prepare_works_once_for_two_callers(
    home: Home, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "command", fake_worker.argv)
    source = tmp_path / "base.gguf"
    source.write_bytes(b"GGUF" + b"x" * 100)
    from engine.models import default_model

    out = default_model.cache_dir(home, str(source))
    (out.parent / f"{out.name}.part").mkdir(parents=True)  # what a cut-off try leaves behind
    out.mkdir()
    code = (
        "import sys; from pathlib import Path\n"
        "from engine.core import process; from engine.training import run_control;"
        "from store.db import Store; from store.home import Home\n"
        "from tests.engine import fake_worker; process.command = fake_worker.argv\n"
        "with Store.open(Home(Path(sys.argv[1]))) as store: print(run_control.prepare(store, sys.argv[2]))\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(home.root), str(source)],
        stdout=subprocess.PIPE, text=True, env=process.environment(),
    )  # fmt: skip
    said: list[str] = []
    assert run_control.prepare(store, str(source), said.append) == out
    assert other.communicate(timeout=DEADLINE_S)[0].strip() == str(out) and other.returncode == 0
    assert (home.models / "prepared.log").read_text() == "once\n"
    # whoever comes second waits, or finds it made
    assert not said or any("waiting" in line or "Preparing" in line for line in said)
    assert not any("noise" in line for line in said)
    assert run_control.prepare(store, str(source)) == out, "nothing to do the second time"
    assert not list(home.models.glob("*.part*"))


def test_prepare_hands_on_the_error(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unsupported, match="endpoint"):
        run_control.prepare(store, "http://localhost:1/v1#x")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no")
    with pytest.raises(BadInput, match="GGUF"):
        run_control.prepare(store, str(broken))
    monkeypatch.setattr(process, "command", fake_worker.argv)
    broken.write_bytes(b"GGUF")
    with pytest.raises(NoSpace, match="cannot hold") as caught:
        run_control.prepare(store, str(broken))
    assert caught.value.todo == "Free 1 GB." and not list(store.home.models.glob("[!.]*"))
    broken.write_bytes(b"GGUF" + b"x" * 10)
    with pytest.raises(WorkerError, match="signal 9"):
        run_control.prepare(store, str(broken))


class TestLaunchers:
    def test_processes_share_the_threads(self, store: Store, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: dict[str, object] = {}

        def spawn(argv: list[str], **named: object) -> tuple[int, float]:
            seen.update(named, argv=argv)
            return real(argv[:-2], **named)  # as one process: nothing is trained together here

        real = process.spawn
        monkeypatch.setattr(process, "spawn", spawn)
        name = submit("quick", launcher="torchrun", processes=2, threads=6).name
        started(store, name)
        assert seen["argv"][-2:] == ["--torchrun", "2"] and seen["env"]["OMP_NUM_THREADS"] == "3"  # type: ignore[index]
        assert ended(store, name).state == "succeeded"

    @pytest.mark.slow
    def test_the_words_of_a_process_beside_the_first_end_the_run(self, store: Store, submit: Submit) -> None:
        name = submit("second", launcher="torchrun", processes=2).name
        after = submit("quick").name
        attempt = started(store, name)
        until(lambda: runs.get(store, after).state == "succeeded")  # no one polls: the agent starts the next run
        run = runs.get(store, name)
        assert run.state == "failed" and run.error is not None
        assert "Process 2 of 2" in run.error and "row 5: The second process cannot read it." in run.error
        assert "Correct row 5." in run.error and run.error.endswith(str(store.home.absolute(attempt.log_path)))
        until(lambda: process.is_running(attempt.pid, attempt.pid_started) is False)

    def test_a_run_is_resumed_by_another_launcher(self, store: Store, submit: Submit) -> None:
        name = submit("crash", launcher="torchrun", processes=2).name
        before = runs.set_wanted(store, name, "stop")  # it leaves the queue
        with pytest.raises(BadInput, match="local starts one process, not 3"):
            run_control.resume(store, name, launcher="local", processes=3)
        run_control.resume(store, name, launcher="local")
        run = ended(store, name)
        assert "launcher" not in run.config and run.config_hash == before.config_hash

    def test_a_run_that_cannot_be_launched_here_fails_and_the_next_one_starts(
        self, store: Store, submit: Submit
    ) -> None:
        toys.register()
        try:
            first = submit("quick", launcher="toy").name
        finally:
            toys.unregister()
        second = submit("quick").name
        run_control.reap(store)
        run = runs.get(store, first)
        assert run.state == "failed"
        assert "cannot be started" in (run.error or "") and "Launcher is 'toy'" in (run.error or "")
        assert ended(store, second).state == "succeeded"
