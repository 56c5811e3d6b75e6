"""The process that starts and watches the processes of a run on one machine: torchrun's elastic agent, listening on the
loopback interface only. It records how a run failed whose first process could not. Trains nothing itself."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from torch.distributed import PrefixStore
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from engine.training import run_control
from engine.training.worker.job_runner import SUPERSEDED, patiently
from engine.training.worker.ranks import HOST, LOOPBACK, listen
from store import runs
from store.db import Store
from store.errors import Superseded
from store.home import Home

STOP_S = 30
"""Seconds that the processes have to end after a signal, before they are killed."""


class LoopbackRendezvous(RendezvousHandler):
    """A meeting of this machine alone, on a free port of the loopback interface. torchrun's own handlers listen on
    every interface."""

    def __init__(self) -> None:
        self._store, self._port = listen()

    @property
    def use_agent_store(self) -> bool:
        """The processes meet at the store of this one."""
        return True

    def get_backend(self) -> str:
        """The name under which it is registered."""
        return "loopback"

    def next_rendezvous(self) -> RendezvousInfo:
        """This machine is the first and only one."""
        return RendezvousInfo(PrefixStore("agent", self._store), 0, 1, RendezvousStoreInfo(HOST, self._port))

    def is_closed(self) -> bool:
        """It stays open until the process ends."""
        return False

    def set_closed(self) -> None:
        """Nothing to do."""

    def num_nodes_waiting(self) -> int:
        """No other machine ever waits."""
        return 0

    def get_run_id(self) -> str:
        """torchrun's name for a meeting."""
        return "run"

    def shutdown(self) -> bool:
        """Nothing to do."""
        return True


def main(home: Home, token: str, processes: int, argv: Sequence[str]) -> int:
    """Run `argv`, the command line of a worker, in so many processes to their end; returns the exit code."""
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # its words are ours below
    os.environ.update(GLOO_SOCKET_IFNAME=LOOPBACK, NCCL_SOCKET_IFNAME=LOOPBACK)
    rendezvous_handler_registry.register("loopback", lambda parameters: LoopbackRendezvous())
    folder = home.cache / "ranks"  # for last words; one run is live at a time, so what lies there is a killed one's
    shutil.rmtree(folder, ignore_errors=True)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
        run_id=secrets.token_hex(8),
        rdzv_backend="loopback",
        rdzv_endpoint=f"{HOST}:0",
        local_addr=HOST,
        max_restarts=0,
        monitor_interval=0.2,
        signals_to_handle="SIGTERM,SIGINT",
        shutdown_timeout=STOP_S,
    )
    try:
        elastic_launch(config, argv[0])(*argv[1:])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        return _failed(home, token, rank, processes, failure)
    except SignalException:
        return 0  # the first process has recorded how the run ended
    return 0


def _failed(home: Home, token: str, rank: int, processes: int, failure: ProcessFailure) -> int:
    """Say which process failed, record it unless the run has its end already, and start the next run."""
    if failure.exitcode == SUPERSEDED:
        return SUPERSEDED
    said = _said(failure)
    how = f"failed: {said}" if said else f"{_ending(failure)} without giving a reason."
    text = f"Process {rank + 1} of {processes} (pid {failure.pid}) {how}"
    with Store.open(home, migrate=False) as store, contextlib.suppress(Superseded):
        log = store.home.absolute(runs.held(store, token)[1].log_path)
        patiently(runs.finish, store, token, "failed", error=f"{text}\n  Log: {log}", exit=str(failure.exitcode))
        run_control.start_next(store)
    print(text.splitlines()[0], file=sys.stderr, flush=True)
    return 1


def _said(failure: ProcessFailure) -> str:
    """The process's own words, where it left any."""
    message: Any = failure.error_file_data.get("message")
    return str(message.get("message", "")) if isinstance(message, dict) else ""


def _ending(failure: ProcessFailure) -> str:
    if failure.exitcode >= 0:
        return f"ended with exit code {failure.exitcode}"
    memory = "; often this means that the machine ran out of memory," if failure.exitcode == -9 else ""
    return f"was ended by {failure.signal_name()}{memory}"
