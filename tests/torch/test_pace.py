"""What a run says of its time and memory, by a clock that the test moves, and in a real run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.training.calibration import COST, RunCost
from engine.training.estimate import Estimate
from engine.training.worker import pace
from engine.training.worker.contracts import TrainingJob
from engine.training.worker.pace import Pace
from tests.tiny import config, make_tiny_llama, rows
from tests.torch.recording import Recorder, train


class Bodies(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[tuple[str, dict[str, object]]] = []

    def say(self, text: str, *, level: str = "info", **body: object) -> None:
        super().say(text, level=level)
        self.bodies.append((text, body))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(at=1000.0)
    monkeypatch.setattr(pace.time, "time", lambda: now.at)
    monkeypatch.setattr(pace.psutil, "Process", lambda: SimpleNamespace(create_time=lambda: 990.0))
    return now


def test_after_the_warm_up_it_knows_the_rest(clock: SimpleNamespace, tmp_path: Path) -> None:
    told = Bodies()
    job = TrainingJob(config(steps=20, warmup=0.2), rows(8), tmp_path, tmp_path, None, told)
    guess = Estimate(seconds=50.0, memory_bytes=10**9, steps=20, note="", start_s=10.0, measuring_s=20.0)
    run = Pace(job, guess)
    clock.at += 5
    run.ready()
    for step in range(1, 21):
        clock.at += 3.0 if step == 1 else 2.0  # the first is slower
        if step % 4 == 0:
            clock.at += 6.0
            run.measured(6.0)
        run.step(step, 20, 5 - step // 4)
    (said,) = [body for text, body in told.bodies if "After 4 steps" in text]
    assert said["seconds_left"] == 16 * 2.0 + 4 * 6.0 + 2.0
    clock.at += 2.0
    run.end(20, 20)
    text, body = told.bodies[-1]
    assert "Estimated before: 50 s and 1.0 GB, " in text and "It took 88 s" in text
    assert said["seconds"] == pytest.approx(body["seconds"]), "nothing unforeseen came"
    kept = RunCost.read(body)
    assert kept and (kept.start_s, kept.work_s) == (15.0, 73.0)
    assert (kept.estimated_start_s, kept.estimated_work_s) == (10.0, 40.0)


def test_what_is_said_is_what_was_shown_and_what_is_kept_is_plain(clock: SimpleNamespace, tmp_path: Path) -> None:
    told = Bodies()
    guess = Estimate(seconds=50.0, memory_bytes=10**9, steps=4, note="", start_s=10.0)
    shown = replace(guess, seconds=90.0, start_s=20.0, memory_bytes=2 * 10**9)
    job = TrainingJob(config(steps=4), rows(8), tmp_path, tmp_path, None, told, corrected=lambda plain: shown)
    run = Pace(job, guess)
    for step in range(1, 5):
        clock.at += 2.0
        run.step(step, 4, 0)
    run.end(4, 4)
    text, body = told.bodies[-1]
    assert "Estimated before: 1.5 minutes and 2.0 GB, " in text
    kept = RunCost.read(body)
    assert kept and (kept.estimated_start_s, kept.estimated_work_s, kept.estimated_bytes) == (10.0, 40.0, 10**9)
    (said,) = [body for text, body in told.bodies if text.startswith("After 3 steps") and text.endswith("of memory")]
    assert isinstance(said["bytes"], int) and said["bytes"] > 10**7


def test_a_measurement_that_is_yet_to_come_is_as_much_slower_as_a_step(clock: SimpleNamespace, tmp_path: Path) -> None:
    told = Bodies()
    job = TrainingJob(config(steps=20, warmup=0.0), rows(8), tmp_path, tmp_path, None, told)
    run = Pace(job, Estimate(seconds=50.0, memory_bytes=10**9, steps=20, note="", start_s=10.0, measuring_s=20.0))
    for step in range(1, 4):
        clock.at += 2.0  # twice the second that was estimated
        run.step(step, 20, 5)
    assert told.bodies[0][1]["seconds_left"] == 17 * 2.0 + 2 * 20.0 + 2.0


def test_a_real_run_says_it_and_an_early_end_counts_for_all_steps(tmp_path: Path) -> None:
    base = make_tiny_llama(tmp_path / "base")
    told = Bodies()
    train(config(steps=6), rows(9), base, tmp_path / "run", recorder=told)
    assert any(text.startswith("After 3 steps: about ") for text, _ in told.bodies)
    ((text, body),) = [(text, body) for text, body in told.bodies if COST in body]
    assert "It took" in text and "of 6 steps" not in text
    kept = RunCost.read(body)
    assert kept and kept.bytes > 10**8 and kept.work_s > 0 and kept.estimated_work_s > 0
    again = Bodies()
    again.stop_after = 2
    train(config(steps=6), rows(9), base, tmp_path / "part", recorder=again)
    assert not any(COST in body for _, body in again.bodies), "a stopped run says nothing of the whole"
