"""The driver of a run on Ray: starts Ray on this machine for this run alone, has Ray Train start the processes of the
run, and records how the run failed whose first process could not. Trains nothing itself."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from engine.core import process
from engine.training import run_control
from engine.training.worker import error_messages, job_runner
from engine.training.worker.job_runner import SUPERSEDED, patiently
from engine.training.worker.ranks import HOST, LOOPBACK, GroupRanks, listen
from store import runs
from store.db import Store
from store.errors import Superseded, WorkerError
from store.home import Home

START_S = 600
"""Seconds that Ray's processes may take to start on a busy machine."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(START_S),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray takes the machine's address for 127.0.0.1, and listens there
    "GLOO_SOCKET_IFNAME": LOOPBACK,
    "NCCL_SOCKET_IFNAME": LOOPBACK,
}


class RayRanks(GroupRanks):
    """One of several processes that Ray started; Ray ends them when one of them has ended. The driver starts the next
    run: what a process of Ray's starts would end with it."""

    starts_next = False

    def watch(self) -> None:
        """See Ranks.watch. Ray does it."""


def main(home: Home, token: str, processes: int) -> int:
    """Train in so many processes to the end, then start the next run; returns the exit code."""
    os.environ.update(_SETTINGS, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    for name in [name for name in os.environ if name == "RAY_ADDRESS"]:
        del os.environ[name]  # another's cluster: the home is on this machine
    with Store.open(home, migrate=False) as store:
        try:
            run, attempt = runs.held(store, token)
        except Superseded:
            return SUPERSEDED
        log, signalled = store.home.absolute(attempt.log_path), list[int]()

        def stop(number: int, frame: Any) -> None:
            signalled.append(number)
            with Store.open(home, migrate=False) as own:  # the first process reads it there
                runs.set_wanted(own, run.name, "stop")

        code = 0
        try:
            with tempfile.TemporaryDirectory(prefix="tf-ray-", ignore_cleanup_errors=True) as folder:
                _fit(home, token, processes, Path(folder), log, stop)
        except Exception as error:
            traceback.print_exc()
            report, code = error_messages.explain(_explained(error), log), 1
            with contextlib.suppress(Superseded):  # the first process has recorded how the run ended
                patiently(runs.finish, store, token, "failed", error=report, exit="1")
            print(report.splitlines()[0], file=sys.stderr, flush=True)
        if not signalled:
            run_control.start_next(store)
        return code


def _fit(home: Home, token: str, processes: int, folder: Path, log: Path, stop: Any) -> None:
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    store, port = listen()  # Ray Train's own meeting would listen on every interface
    ray.init(
        address="local",
        num_cpus=max(processes, process.cores()),
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(folder),
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # after Ray has set its own
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        DataParallelTrainer(
            _work,
            train_loop_config={"home": str(home.root), "token": token, "port": port, "log": str(log)},
            scaling_config=ScalingConfig(
                num_workers=processes, use_gpu=ray.cluster_resources().get("GPU", 0) >= processes
            ),
            run_config=RunConfig(name="run", storage_path=str(folder), failure_config=FailureConfig(max_failures=0)),
        ).fit()
    finally:
        ray.shutdown()
        del store


def _work(config: dict[str, Any]) -> None:
    """In each of Ray's processes: the worker, at the place that Ray gives it."""
    import ray.train

    output = os.open(config["log"], os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):  # into the run's log, as with every launcher; Ray's own words stay out of it
        os.dup2(output, stream)
    at = ray.train.get_context()
    place = RayRanks(at.get_world_rank(), at.get_world_size(), at.get_local_rank(), "ray", HOST, config["port"])
    code = job_runner.run(Home(Path(config["home"])), config["token"], ranks=place)
    if code not in (0, SUPERSEDED):
        raise WorkerError(f"Process {place.rank + 1} of {place.world} {place.failure or f'ended with code {code}.'}")


def _explained(error: Exception) -> BaseException:
    """What a process of Ray's said itself, where it said something."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause: BaseException = failure
        while (inner := getattr(cause, "cause", None) or cause.__cause__) is not None:
            cause = inner
        if isinstance(cause, WorkerError):
            return cause
    return WorkerError("A process of the run ended without giving a reason.", todo="Read the log, and resume the run.")
