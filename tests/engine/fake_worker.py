"""A real detached worker process with a stand-in for training: the real job runner, store and signals, no torch.
Started as `python -m tests.engine.fake_worker run|prepare …`; the run's recipe says how the training behaves: `quick`
runs through, `hold` waits for the test after step 1, `hold=1,3` after these steps; the others fail in some way."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

from engine.core import process
from engine.training.worker import __main__ as command
from engine.training.worker import checkpoints, job_runner
from engine.training.worker.contracts import Outcome, TrainingJob
from store.errors import BadInput, NoSpace
from tests import holding
from tests.engine import toys


def argv(*arguments: str) -> list[str]:
    """Stands in for engine.core.process.command."""
    return [sys.executable, "-m", "tests.engine.fake_worker", *arguments]


def train(job: TrainingJob) -> Outcome:
    mode, _, number = job.config.recipe.partition("=")
    match mode:
        case "error":
            raise BadInput("The rows are of no use.", where="row 3", todo="Correct row 3.")
        case "crash":
            raise RuntimeError("first line\nsecond line")
        case "memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        case "disk":
            with Path("/dev/full").open("w") as full:  # a real ENOSPC
                full.write("x" * 100_000)
        case "module":
            __import__("no_such_module_here")
        case "second" if job.ranks.rank == 1:
            raise BadInput("The second process cannot read it.", where="row 5", todo="Correct row 5.")
        case "second":
            job.reporter.say("waiting for the others")
            time.sleep(holding.PATIENCE_S)
        case "exit":
            sys.exit(3)
        case "vanish":
            print("the last word", flush=True)
            os._exit(9)
        case "gil":
            job.reporter.say("holding the GIL")
            ctypes.PyDLL(None).sleep(int(number))  # PyDLL keeps the GIL: no other thread runs meanwhile
            job.reporter.say("let go of the GIL")
        case "stuck":
            job.reporter.total(job.config.steps or 4, {"device": "fake"})
            holding.hold(job.reporter, job.out, 1)  # before the first step
        case "child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (job.out / "child.pid").write_text(str(child.pid))
    holds = holding.steps_of(os.environ.get(holding.AT, ""))
    return _steps(job, holding.steps_of(number or "1") if mode in ("hold", "child") else holds)


def _steps(job: TrainingJob, holds: set[int]) -> Outcome:
    total = job.config.steps or 4
    first = int(job.resume_from.name.removeprefix("step-")) if job.resume_from else 0
    job.reporter.total(total, {"device": "fake"})
    for step in range(first + 1, total + 1):
        time.sleep(0.02)
        job.reporter.metrics(step, {"loss": 4.0 / step, "lr": 1e-3})
        if job.config.save_every and step % job.config.save_every == 0:
            _save(job, step)
        if step in holds:
            holding.hold(job.reporter, job.out, step)
        if job.reporter.wanted() != "run":
            return Outcome(_save(job, step), "stopped", step)
    adapter = job.out / "adapter"
    adapter.mkdir(exist_ok=True)
    (adapter / "adapter_config.json").write_text("{}")
    _write_state(job, job.out / "checkpoints" / checkpoints.END, total)
    return Outcome(adapter, "succeeded", total)


def _save(job: TrainingJob, step: int) -> Path:
    folder = job.out / "checkpoints" / f"step-{step}"
    job.reporter.checkpoint(step, folder, _write_state(job, folder, step), None)
    return folder


def _write_state(job: TrainingJob, folder: Path, step: int) -> checkpoints.Files:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "optimizer.pt").write_text(f"state of step {step}")
    return checkpoints.seal(folder, {"step": step, "total_steps": job.config.steps})


def slow_prepare(source: Path, out: Path, say: object) -> Path:
    """Stands in for worker.convert_gguf.prepare: slow enough to race, and it counts how often it worked."""
    if source.stat().st_size < 10:
        raise NoSpace("The disk cannot hold it.", where=str(out), todo="Free 1 GB.")
    if source.stat().st_size < 20:
        os.kill(os.getpid(), signal.SIGKILL)
    print("some library's noise")
    part = out.with_name(out.name + ".part")
    part.mkdir()
    (part / "model.safetensors").write_bytes(source.read_bytes())
    with (out.parent / "prepared.log").open("a") as file:
        file.write("once\n")
    time.sleep(0.5)
    (part / ".complete").write_text(f'{{"model.safetensors": {source.stat().st_size}}}')
    part.rename(out)
    return out


def main() -> int:
    toys.register()
    process.command = argv  # the next run in the queue is started from here
    job_runner.BEAT_S = 0.2
    if sys.argv[1] == "prepare":
        light = ModuleType("engine.training.worker.convert_gguf")  # the real one imports torch: seconds in each process
        light.prepare = slow_prepare  # type: ignore[attr-defined]
        sys.modules[light.__name__] = light
        return command.main()
    original = job_runner.run
    job_runner.run = lambda home, token, **named: original(home, token, train, **named)
    return command.main()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
