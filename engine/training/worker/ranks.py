"""The processes of one run: what they add up, what the first of them decides for all, and how one hears that another
ended. A run in one process has `ALONE`, for which all of it is nothing. torch is imported when processes join.

Every process holds the whole model and takes its share of the passes of each step; the gradients are added up before
they are clipped, so that each does the same optimizer step: data parallelism as in Li et al., "PyTorch Distributed",
https://arxiv.org/abs/2006.15704, without its hooks, since an adapter's gradients are small. A model in shards
(sharding.py) adds up its gradients itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engine.core import process
from store.errors import WorkerError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

HOST = "127.0.0.1"
LOOPBACK = "lo0" if platform.system() == "Darwin" else "lo"
"""The interface that gloo and NCCL are held to."""
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables by which a process is told its place, as torchrun names them."""
_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
PATIENCE = timedelta(days=7)
"""How long a process waits for the others: the first may prepare a model or measure for hours. What ends is noticed by
other means."""
EXCHANGE = 16_000_000
"""Numbers that processes add up at once: the gradients of all weights of a model would be copied whole otherwise."""
_LOOK_S = 0.5
_GRACE_S = 5.0
"""Seconds that a process has to end by itself when another has ended."""


class Ranks:
    """This process's place among those of its run: `rank` of `world`, `local` on its machine. `launcher` started it.
    `failure` is what it said of its failure."""

    starts_next = True
    """Whether the first process starts the next run in the queue when it has ended."""

    def __init__(self, rank: int = 0, world: int = 1, local: int = 0, launcher: str = "local") -> None:
        self.rank, self.world, self.local, self.launcher = rank, world, local, launcher
        self._left = threading.Event()
        self.failure = ""

    @property
    def first(self) -> bool:
        """Whether this process is the one that reports, writes files and hears requests to stop."""
        return self.rank == 0

    def threads(self, asked: int | None) -> int | None:
        """CPU threads of this process, when the run may have so many; None is all of the machine's, in one process."""
        return asked if self.world == 1 else share_of_threads(asked, self.world)

    def watch(self) -> None:
        """From now on, end when another process of the run has ended."""

    def join(self) -> None:
        """Meet the other processes; waits for them."""

    def leave(self) -> None:
        """Part from the other processes when all of them are here: nothing is computed together any more."""

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes: the same bits in each of them."""

    def any(self, here: bool) -> bool:
        """Whether it is so in any process."""
        return here

    def from_first(self, find: Callable[[], T]) -> T:
        """What the first process finds; the others do not look. It must be small, and made of plain values."""
        return find()

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of some work: every `world`-th item."""
        return items[self.rank :: self.world]

    def require_same(self, facts: Mapping[str, Any]) -> None:
        """WorkerError unless the facts are the same in every process."""

    def vary_noise(self, seed: int, step: int) -> None:
        """Give dropout other random numbers than in the first process, the same ones whenever the step is repeated."""

    def tell_failure(self, text: str) -> None:
        """Leave the words of a failure where the process that started this one reads them."""


ALONE = Ranks()
"""The place of a process that works on its run alone."""


class GroupRanks(Ranks):
    """One of several processes."""

    def __init__(self, rank: int, world: int, local: int, launcher: str, address: str, port: int) -> None:
        super().__init__(rank, world, local, launcher)
        self._address, self._port = address, port
        self._parent = os.getppid()

    def join(self) -> None:
        """See Ranks.join. gloo adds what is on the CPU, NCCL what is on a GPU."""
        import torch
        from torch import distributed

        store = distributed.TCPStore(self._address, self._port, is_master=False, timeout=PATIENCE)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        with self._together():
            distributed.init_process_group(
                backend,
                store=distributed.PrefixStore("run", store),
                rank=self.rank,
                world_size=self.world,
                timeout=PATIENCE,
            )

    def leave(self) -> None:
        with self._together():
            self.any(False)
        self._left.set()

    def add(self, tensors: Sequence[Tensor]) -> None:
        """See Ranks.add. In float32 and in their order, many small ones in one exchange."""
        import torch
        from torch import distributed

        kind = torch.float64 if any(each.dtype == torch.float64 for each in tensors) else torch.float32
        for many in _exchanges(tensors):
            flat = torch.cat([each.detach().reshape(-1).to(kind) for each in many])
            with self._together():
                distributed.all_reduce(flat)
            with torch.no_grad():
                for each, part in zip(many, flat.split([each.numel() for each in many]), strict=True):
                    each.copy_(part.view_as(each))

    def any(self, here: bool) -> bool:
        import torch
        from torch import distributed

        flag = torch.tensor([int(here)])
        with self._together():
            distributed.all_reduce(flag)
        return bool(flag.item())

    def from_first(self, find: Callable[[], T]) -> T:
        from torch import distributed

        box = [find() if self.first else None]
        with self._together():
            distributed.broadcast_object_list(box, src=0)
        found: T = box[0]  # type: ignore[assignment]
        return found

    def require_same(self, facts: Mapping[str, Any]) -> None:
        theirs = self.from_first(lambda: dict(facts))
        differ = [name for name in facts if facts[name] != theirs[name]]
        if self.any(bool(differ)) and differ:
            what = f"{differ[0]} {facts[differ[0]]} in process {self.rank + 1} of {self.world}"
            raise WorkerError(
                f"The processes of the run differ: {what}, and {theirs[differ[0]]} in the first.",
                todo="Give them equal machines and the same files, or train with the launcher local.",
            )

    def vary_noise(self, seed: int, step: int) -> None:
        if not self.first:
            import torch

            torch.manual_seed((seed * 1_000_003 + step) * self.world + self.rank)

    def tell_failure(self, text: str) -> None:
        self.failure = f"failed: {text}"
        if path := os.environ.get(_ERROR_FILE):
            found = {"message": {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}}
            with contextlib.suppress(OSError):
                Path(path).write_text(json.dumps(found), "utf-8")

    def watch(self) -> None:
        """See Ranks.watch. It ends, too, when the process that started it has ended, in whatever it is stuck: loading,
        or a GPU's exchange that waits for ever. Signals to stop are the first process's to follow."""
        if not self.first:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=self._look, name="ranks", daemon=True).start()

    def _look(self) -> None:
        all_of_us: frozenset[int] = frozenset()
        alone_since = 0.0
        while True:
            time.sleep(_LOOK_S)
            if os.getppid() != self._parent:
                os._exit(1)
            if self._left.is_set():
                continue
            here = process.children_of(self._parent)
            if len(all_of_us) < self.world:
                all_of_us = here
            elif not all_of_us <= here:
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > _GRACE_S:
                    os._exit(1)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Say which process is missing when an exchange with the others fails."""
        try:
            yield
        except RuntimeError as error:
            raise WorkerError(
                f"Process {self.rank + 1} of {self.world} lost another one of the run: it has ended.",
                todo="Read the log for its last words, and resume the run: it continues from its last checkpoint.",
            ) from error


def _exchanges(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in their order, in groups of at most EXCHANGE numbers or of one."""
    group: list[Tensor] = []
    numbers = 0
    for each in tensors:
        if group and numbers + each.numel() > EXCHANGE:
            yield group
            group, numbers = [], 0
        group.append(each)
        numbers += each.numel()
    if group:
        yield group


def listen() -> tuple[Any, int]:
    """A store where the processes of a run meet, on a free port of the loopback interface, and the port. torch's own
    listens on every interface."""
    from torch.distributed import TCPStore

    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(128)
        port = int(listener.getsockname()[1])
        handle = listener.detach()
    waits = {"timeout": PATIENCE, "wait_for_workers": False}
    return TCPStore(HOST, port, is_master=True, master_listen_fd=handle, **waits), port


def share_of_threads(asked: int | None, processes: int) -> int:
    """CPU threads of each of so many processes: equal shares of those asked for, or of the machine's cores.

    >>> share_of_threads(6, 4), share_of_threads(9, 2)
    (1, 4)
    """
    return max(1, (asked or process.cores()) // processes)


def taken(environment: dict[str, str] | None = None) -> Ranks:
    """The place that the environment gives this process. What says so is taken out: neither the libraries here nor the
    next run, which this process may start, must read it."""
    found = os.environ if environment is None else environment
    given = {name: found.pop(name, None) for name in VARIABLES}
    for name in [name for name in found if name.startswith("TORCHELASTIC_") and name != _ERROR_FILE]:
        del found[name]
    if given["RANK"] is None or given["MASTER_PORT"] is None:
        return ALONE
    rank, world, local = (int(given[name] or 0) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return GroupRanks(rank, world, local, "torchrun", str(given["MASTER_ADDR"]), int(given["MASTER_PORT"]))


def zeros_for_missing(parameters: Iterable[Any]) -> list[Tensor]:
    """The gradient of each parameter; zeros where this process had no pass that reached it."""
    import torch

    found = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        found.append(parameter.grad)
    return found
