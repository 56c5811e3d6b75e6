"""Records a session of the real app as an asciicast: sample data, a run, base and tuned side by side.

    python scripts/record.py                      # docs/session.cast, in a fresh home; about three minutes
    asciinema play docs/session.cast

The keys are pressed by this script and everything else is what the app does. While the run trains, the recording is
faster by FASTER. The format: https://docs.asciinema.org/manual/asciicast/v2/
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FASTER = 12.0
PATIENCE_S = 600.0
LONGEST_GAP_S = 1.5
"""Waiting for a model or a file is cut to this in the recording."""
_CONTROL = re.compile(rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()=>A-Z\\]")


class Session:
    """A program in a pseudo-terminal, with everything that it writes, and when."""

    def __init__(self, argv: list[str], size: tuple[int, int]) -> None:
        self.size, self.events = size, list[tuple[float, str]]()
        self._clock, self._speed, self._last, self._rest, self._seen = 0.0, 1.0, time.monotonic(), b"", ""
        pid, self._master = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(argv[0], argv)
        self.pid = pid
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        os.kill(pid, signal.SIGWINCH)

    def press(self, keys: str, pause_s: float = 0.6, each_s: float = 0.0) -> None:
        """Send keys, one by one when `each_s` says how fast a person types, and look for a moment."""
        for key in keys if each_s else [keys]:
            os.write(self._master, key.encode())
            self.watch(each_s)
        self.watch(pause_s)

    def watch(self, seconds: float) -> None:
        """Record for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self._read(left):
            pass

    def see(self, text: str, speed: float = 1.0) -> None:
        """Record until a text is written; TimeoutError with the last of what came otherwise."""
        end, self._speed = time.monotonic() + PATIENCE_S, speed
        while text not in self._seen:
            if time.monotonic() > end or not self._read(1.0):
                raise TimeoutError(f"{text!r} did not come; last: {self._seen[-400:]!r}")
        self._speed, self._seen = 1.0, ""

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._master], [], [], wait_s)[0]:
            return True
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            return False  # it has ended
        now = time.monotonic()
        self._clock += min((now - self._last) / self._speed, LONGEST_GAP_S)
        self._last = now
        whole = self._rest + data
        cut = next((n for n in range(1, 4) if whole[-n:][:1] and whole[-n] >= 0xC0), 0)  # a character cut in two
        self._rest, whole = (whole[-cut:], whole[:-cut]) if cut else (b"", whole)
        text = whole.decode("utf-8", "replace")
        self.events.append((self._clock, text))
        self._seen += _CONTROL.sub(b"", whole).decode("utf-8", "replace")
        return True

    def write(self, path: Path) -> None:
        """The recording as a file."""
        width, height = self.size
        head = {"version": 2, "width": width, "height": height, "title": "Tuningfork"}
        lines = [json.dumps(head), *(json.dumps([round(at, 3), "o", text]) for at, text in self.events)]
        path.write_text("\n".join(lines) + "\n", "utf-8")


def record(session: Session) -> None:
    """The loop that README describes, by keys."""
    session.see("Try it with sample data")
    session.press("1", 1.5)
    session.press("\r", 0.5)  # with the names that are offered
    session.press("\r", 2.5)
    session.see("pairs")
    session.press("jjjj", 1.5, each_s=0.4)
    session.press("\x1bOR", 2.0)  # F3
    session.press("n", 3.0)
    session.press("\x13", 2.0)
    session.see("done", FASTER)
    session.press("o", 2.0)
    session.press("Who made you?", 0.5, each_s=0.07)
    session.press("\r", 8.0)
    session.press("\x1b", 1.0)
    session.press("2", 2.0)  # the right answer is better
    session.press("d", 3.0)
    session.press("\x1b", 1.0)
    session.press("\x11", 1.0)  # Ctrl+Q


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "session.cast")
    parser.add_argument("--size", default="100x30", help="COLUMNSxROWS")
    chosen = parser.parse_args()
    columns, _, rows = chosen.size.partition("x")
    with tempfile.TemporaryDirectory(prefix="tuningfork-record-") as home:
        argv = [sys.executable, "-m", "tui", "--home", str(Path(home) / "home")]
        session = Session(argv, (int(columns), int(rows)))
        try:
            record(session)
        finally:
            session.watch(2.0)
            os.kill(session.pid, signal.SIGTERM)
            os.waitpid(session.pid, 0)
            session.write(chosen.out)
    print(f"{chosen.out}: {session.events[-1][0]:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
