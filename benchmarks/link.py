"""The app in a pseudo-terminal behind a link with limited speed and delay, and how soon it echoes a key.
Shared by terminal.py, which measures, and by the tests, which only check bounds."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import termios
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import monotonic, sleep

from engine.inference import access
from store import datasets, pairs, runs
from store.db import Store
from store.home import Home
from store.records import PairDraft

ROOT = Path(__file__).resolve().parent.parent
BASE = "smollm2-135m"
F4, ENTER, BACKSPACE = b"\x1bOS", b"\r", b"\x7f"
LOST_S = 5.0
_BURST = 4096
_LETTERS = [chr(c) for c in (*range(0x100, 0x17F), *range(0x400, 0x45F), *range(0x1E00, 0x1EF0))]
"""Narrow letters that no text of the app and no answer has, so that the bytes of one are its echo."""


@dataclass(frozen=True, slots=True)
class Link:
    """Between terminal and app: bytes a second towards the terminal, seconds of delay each way."""

    bytes_per_s: float = inf
    delay_s: float = 0.0


@dataclass(slots=True)
class EchoTimes:
    """Seconds from key to echo, without the link's delay, and bytes sent to the terminal in each second."""

    latencies: list[float] = field(default_factory=list)
    by_second: list[int] = field(default_factory=list)

    def percentile(self, part: float) -> float:
        """The latency that `part` of the keys stayed within, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    @property
    def kb_per_s(self) -> float:
        """KB (1000 bytes) a second to the terminal, on average."""
        return sum(self.by_second) / len(self.by_second) / 1000

    @property
    def peak_kb_per_s(self) -> float:
        """The busiest second."""
        return max(self.by_second) / 1000


class Terminal:
    """A process in a pseudo-terminal, reached over a link. Only `pump` moves bytes."""

    def __init__(self, argv: list[str], env: dict[str, str], size: tuple[int, int], link: Link) -> None:
        self._master, slave = pty.openpty()
        columns, lines = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._app = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=ROOT, start_new_session=True
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        self._link = link
        self._keys: deque[tuple[float, bytes]] = deque()
        self._budget, self._earned = 0.0, monotonic()
        self._tail = b""
        self.taken: list[tuple[float, int]] = []
        """(time, bytes) of each read from the app."""

    def press(self, key: bytes) -> float:
        """Press a key; returns the time."""
        now = monotonic()
        self._keys.append((now + self._link.delay_s, key))
        return now

    def pump(self, seconds: float, until: str = "") -> float | None:
        """Carry bytes both ways for `seconds`, or until the text arrives: then the time of its arrival, else None."""
        wanted, end = until.encode(), monotonic() + seconds
        self._tail = b""
        while (now := monotonic()) < end:
            while self._keys and self._keys[0][0] <= now:
                os.write(self._master, self._keys.popleft()[1])
            due = self._keys[0][0] if self._keys else end
            data = self._take(now, min(due, end))
            if not data:
                continue
            self._tail = (self._tail + data)[-_BURST * 4 :]
            if wanted and wanted in self._tail:
                return monotonic() + self._link.delay_s
        return None

    def see(self, text: str, seconds: float = 20.0) -> None:
        """Wait for a text; an AssertionError shows what came instead."""
        assert self.pump(seconds, text) is not None, f"{text!r} did not come; last: {self._tail[-800:]!r}"

    def close(self) -> None:
        """End the app and discard what it still writes."""
        self._app.send_signal(signal.SIGTERM)
        end = monotonic() + 5
        while self._app.poll() is None and monotonic() < end:
            self._read(1 << 16, 0.05)
        self._app.kill()
        self._app.wait()
        os.close(self._master)

    def _take(self, now: float, end: float) -> bytes:
        """What the link lets through now; waits for it until `end` at most."""
        room = _BURST * 4
        if self._link.bytes_per_s < inf:
            self._budget = min(_BURST, self._budget + (now - self._earned) * self._link.bytes_per_s)
            room = int(self._budget)
        self._earned = now
        if room < 64:
            sleep(0.001)
            return b""
        data = self._read(room, max(0.0, min(0.02, end - now)))
        if data:
            self._budget -= len(data)
            self.taken.append((monotonic(), len(data)))
        return data

    def _read(self, most: int, seconds: float) -> bytes:
        if not select.select([self._master], [], [], seconds)[0]:
            return b""
        try:
            return os.read(self._master, most)
        except OSError:  # the app closed its end
            sleep(seconds)
            return b""


def measure_echo(home: Home, size: tuple[int, int], link: Link, seconds: float) -> EchoTimes:
    """Type into the Compare screen for `seconds` while both lanes stream. `home` comes from `make_home` and needs a
    running `stream_server`."""
    env = os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    for name in ("COLORTERM", "NO_COLOR", "COLUMNS", "LINES", "SSH_CONNECTION", "SSH_TTY"):
        env.pop(name, None)
    if link.delay_s:
        env["SSH_CONNECTION"] = "192.0.2.1 50000 192.0.2.2 22"  # what an SSH server would say
    terminal = Terminal([sys.executable, "-m", "tui", "--home", str(home.root)], env, size, link)
    try:
        terminal.see("F4")
        terminal.press(F4)
        terminal.see("ember-1")
        terminal.pump(1.0)
        terminal.press(b"Go on" + ENTER)
        terminal.see("keeper")
        terminal.pump(1.0)
        return _type(terminal, link, seconds)
    finally:
        terminal.close()


def _type(terminal: Terminal, link: Link, seconds: float) -> EchoTimes:
    times, chance, began = EchoTimes(), random.Random(1), monotonic()
    terminal.taken.clear()
    for letter in itertools.cycle(_LETTERS):
        if monotonic() - began >= seconds:
            break
        pressed = terminal.press(letter.encode())
        arrived = terminal.pump(LOST_S, letter)
        times.latencies.append((arrived - pressed - 2 * link.delay_s) if arrived else LOST_S)
        terminal.press(BACKSPACE)
        terminal.pump(chance.uniform(0.06, 0.16))
    whole = int(monotonic() - began)
    times.by_second = [sum(n for t, n in terminal.taken if s <= t - began < s + 1) for s in range(whole)]
    return times


def make_home(home: Home) -> None:
    """A home whose Compare opens with two lanes: the base, and a run that succeeded, without any weights."""
    with Store.open(home.ensure()) as store:
        pairs.create_many(store, [PairDraft("Who are you?", "I am Ember.")], dataset="ember")
        snapshot = datasets.freeze(store, "ember")
        run = runs.create(
            store, name="ember-1", base=BASE, snapshot=snapshot.hash, method="lora", config={"model": BASE},
            config_hash="x", seed=0,
        )  # fmt: skip
        folder = home.run_dir(run.uid) / "adapter"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
        (folder / "adapter_model.safetensors").write_bytes(b"")
        runs.open_attempt(store, run.id, host="here", pid=1, pid_started=1.0, token="t", log_path="x")
        runs.claim(store, "t")
        runs.finish(store, "t", "succeeded", adapter=home.relative(folder))


@contextmanager
def stream_server(home: Home, rate: float) -> Iterator[None]:
    """A chat server of this home that answers every lane with `rate` words a second."""
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.stream_server", str(home.root), str(rate)], cwd=ROOT)
    try:
        end = monotonic() + 20
        while access.read_info(home) is None:
            assert server.poll() is None and monotonic() < end, "the stream server did not start"
            sleep(0.05)
        yield
    finally:
        server.kill()
        server.wait()
