"""How responsive Compare is while two lanes stream 150 tokens per second each: key to echo, and bytes to the terminal.
Run it on an idle machine: `python benchmarks/terminal.py [--json] [--seconds N]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report
from benchmarks.link import EchoTimes, Link, make_home, measure_echo, stream_server
from benchmarks.report import Row
from store.home import Home

RATE = 150.0
SIZES = {"80x24": (80, 24), "160x45": (160, 45)}
NEAR, FAR = Link(), Link(bytes_per_s=60_000, delay_s=0.15)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table and Markdown")
    parser.add_argument("--seconds", type=float, default=40.0, help="seconds of typing for each size and link")
    chosen = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as folder:
        home = Home(Path(folder) / "home")
        make_home(home)
        with stream_server(home, RATE):
            for name, size in SIZES.items():
                print(f"{name}: typing, first without a link, then over a slow one.", file=sys.stderr, flush=True)
                rows += near(name, measure_echo(home, size, NEAR, chosen.seconds))
                rows += far(name, measure_echo(home, size, FAR, chosen.seconds))
    report.show("benchmarks/terminal.py", rows, remarks(chosen.seconds), json_only=chosen.json)


def near(name: str, times: EchoTimes) -> list[Row]:
    """Key and bytes in a terminal that takes everything."""
    return [
        _keys(f"{name}: key to echo, p99", times, 30),
        Row(
            f"{name}: to the terminal", times.kb_per_s, "KB/s", ("<=", 60), f"busiest second {times.peak_kb_per_s:.0f}"
        ),
    ]


def far(name: str, times: EchoTimes) -> list[Row]:
    """Keys over the slow link."""
    return [_keys(f"{name}, 60 KB/s and 150 ms: key to echo, p99", times, 100)]


def _keys(what: str, times: EchoTimes, target_ms: float) -> Row:
    half, most, count = times.percentile(0.5) * 1e3, max(times.latencies) * 1e3, len(times.latencies)
    p99 = times.percentile(0.99) * 1e3
    return Row(what, p99, "ms", ("<", target_ms), f"median {half:.0f} ms, slowest {most:.0f} ms of {count} keys")


def remarks(seconds: float) -> list[str]:
    """How the figures were taken."""
    return [
        f"The app as a process in a pseudo-terminal (xterm-256color); a chat server without a model, in a process of "
        f"its own, sends each lane {RATE:.0f} words a second over HTTP. {seconds:.0f} seconds of typing per row: a "
        f"letter that appears nowhere else on the screen, timed from the key to the first read of its bytes. At 80 "
        f"columns one lane is shown and both stream. The slow link reads 60,000 bytes a second and delays both ways by "
        f"150 ms, which are subtracted. KB are 1,000 bytes."
    ]


if __name__ == "__main__":
    main()
