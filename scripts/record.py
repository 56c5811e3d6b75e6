"""Records a session: the app in a real terminal, from the sample data to a verified export, for README.

    python -m scripts.record                    # docs/session.cast.gz and docs/session.svg
    gunzip -c docs/session.cast.gz | asciinema play -

The app is opened with --remote on a home of its own, and driven by name as `tuningfork remote` does it; what it writes
to its terminal is recorded. Takes about five minutes on two cores. In the recording no pause is longer than a second
that is not meant for reading, and training and the export run faster than they did.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts import animate
from store.home import Home
from tui.remote.client import Awaited, RemoteClient

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 100, 30
MOST_PAUSE_S = 1.0
"""Seconds of the recording at most between two things that happen."""
KEY_S, LOOK_S = 0.06, 2.0
"""Seconds between two typed letters, and for which a reader looks at a page."""


@dataclass
class Cast:
    """What the terminal got, with the seconds at which it is played back: asciicast version 2,
    https://docs.asciinema.org/manual/asciicast/v2/."""

    width: int
    height: int
    events: list[tuple[float, str]] = field(default_factory=list)

    def text(self) -> str:
        """The file: a header, then an event a line."""
        header = {"version": 2, "width": self.width, "height": self.height, "title": "Tuningfork"}
        lines = [json.dumps([round(at, 3), "o", text], ensure_ascii=False) for at, text in self.events]
        return "\n".join([json.dumps(header), *lines]) + "\n"


class Recorder:
    """The app in a pseudo-terminal, and a connection to drive it. A context manager."""

    def __init__(self, home: Home) -> None:
        self.cast = Cast(WIDTH, HEIGHT)
        self._speed, self._least, self._at, self._last = 1.0, 0.0, 0.0, time.monotonic()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        env = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "TUNINGFORK_HOME": str(home.root)}
        words = [sys.executable, "-m", "tui", "--remote"]
        self._app = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._remote = RemoteClient(home, wait_s=60)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._app.terminate()
        self._app.wait(timeout=60)
        self._reader.join(timeout=10)

    def _read(self) -> None:
        held = b""
        while True:
            try:
                data = held + os.read(self._master, 1 << 16)
            except OSError:  # the app has ended
                return
            # a character may be cut in the middle: what of it came is held back
            text = data.decode("utf-8", "ignore")
            held = data[len(text.encode()) :] if len(data) - len(text.encode()) < 4 else b""
            now = time.monotonic()
            self._at += max(self._least, min(now - self._last, MOST_PAUSE_S) / self._speed)
            self._last, self._least = now, 0.0
            self.cast.events.append((self._at, text))

    @contextmanager
    def faster(self, times: float) -> Iterator[None]:
        """Time passes so much faster in the recording."""
        self._speed = times
        yield
        self._speed = 1.0

    def look(self, seconds: float = LOOK_S) -> None:
        """Leave what is shown as it is for so long."""
        time.sleep(0.3)
        self._least = seconds

    def do(self, what: str, **more: Any) -> None:
        """One request, as `tuningfork remote` sends it."""
        self._remote.ask(what, **more)
        time.sleep(0.2)

    def type(self, text: str) -> None:
        """Type a text, letter by letter."""
        for letter in text:
            self._remote.ask("type", text=letter)
            time.sleep(KEY_S)

    def wait(self, *texts: str, timeout_s: float = 900.0, **more: Any) -> None:
        """Wait until these texts are on the screen, and what else `Awaited` can wait for."""
        self._remote.wait(Awaited(texts, **more), timeout_s)


def session(app: Recorder, steps: int) -> None:
    """Curate, tune, compare, vote, export."""
    app.wait("Try it with sample data", ready=True)
    app.look()
    app.do("call", action="data.samples")
    app.do("fill", field="name", text="")
    app.type("Ember")
    app.do("fill", field="author", text="")
    app.type("Northwind Labs")
    app.look(1)
    app.do("choose", text="Load", open=True)
    app.wait("The sample data is loaded")
    app.do("choose", text="Look at the pairs", open=True)
    app.look()
    app.do("press", keys=["down"] * 6)
    app.look()

    app.do("mode", mode="train")
    app.do("call", action="train.new")
    app.do("fill", field="dataset", text="identity")
    app.do("fill", field="length", text=f"{steps} steps")
    app.do("fill", field="run-name", text="")
    app.type("ember")
    with app.faster(20):
        app.wait(ready=True)
    app.look()
    app.do("call", action="train.start")
    app.wait(actions=("runs.note",))
    with app.faster(12):
        app.wait(jobs_done=True, timeout_s=3600)
    app.look(3)

    app.do("choose", text="ember")
    app.wait(actions=("runs.compare",))
    app.do("call", action="runs.compare")
    with app.faster(4):
        app.wait(mode="compare", ready=True)
    app.type("Who made you?")
    app.look(0.5)
    app.do("press", keys=["enter"])
    with app.faster(2):
        app.wait("Who made you?", ready=True)
    app.look(3)
    app.do("call", action="compare.right")
    app.look()

    app.do("mode", mode="export")
    app.do("choose", text="ember")
    app.wait(actions=("export.start",), ready=True)
    app.do("fill", field="quants", text="q8_0")
    app.wait(ready=True)
    app.look()
    app.do("call", action="export.start")
    app.wait("working")
    with app.faster(10):
        app.wait(gone=("working",), jobs_done=True, timeout_s=3600)
    app.do("choose", text="gguf q8_0")
    app.wait("stops")
    app.look(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="where the two files go  [default: docs]")
    parser.add_argument("--steps", type=int, default=66, help="of the run  [default: 66, enough for the name]")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="tf") as folder,  # a socket's path is limited
        Recorder(Home(Path(folder) / "home").ensure()) as app,
    ):
        session(app, given.steps)
        cast = Cast(WIDTH, HEIGHT, [*app.cast.events])  # not how the screen is put away
    picture = animate.svg(cast.events, WIDTH, HEIGHT).encode()
    for name, data in (("session.cast.gz", gzip.compress(cast.text().encode(), mtime=0)), ("session.svg", picture)):
        (given.folder / name).write_bytes(data)
        print(f"{given.folder / name}: {len(data) / 1000:,.0f} kB")
    print(f"{cast.events[-1][0]:.0f} s of recording")


if __name__ == "__main__":
    main()
