"""Runs the test suite in its parts, each also when one before it failed, and ends with one line that sums them up.

python scripts/run_tests.py            # everything: two parts on two processes, then what needs the machine to itself
python scripts/run_tests.py --fuzz 10  # only the tests that draw at random, with new draws, for ten minutes
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    ["-m", "not slow", "-n", "2"],
    ["-m", "slow and not alone", "-n", "2", "--dist", "loadgroup"],  # one process for tests that share what was made
    ["-m", "slow and alone"],
)


def pytest(arguments: list[str], counts: Counter[str], env: dict[str, str] | None = None) -> int:
    """Run pytest once, add what it counted to `counts`, and return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
        code = subprocess.run(command, cwd=ROOT, env=os.environ | (env or {}), check=False).returncode
        if not report.is_file():
            counts["failed"] += 1
            return code or 1
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
            failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            counts.update(passed=total - failed - skipped, failed=failed, skipped=skipped)
    return code


def everything(counts: Counter[str]) -> bool:
    """All parts, each also when one before it is red. True when all are green."""
    codes = [pytest(part, counts) for part in PARTS]
    return not any(codes)


def fuzz(minutes: float, counts: Counter[str]) -> bool:
    """New draws, round after round, until the time is up or something fails. True when nothing failed."""
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until:
        seed = secrets.randbelow(10**9)
        print(f"seed {seed}: to repeat, TUNINGFORK_FUZZ_SEED={seed} HYPOTHESIS_PROFILE=fuzz pytest -m fuzz", flush=True)
        env = {"TUNINGFORK_FUZZ_SEED": str(seed), "HYPOTHESIS_PROFILE": "fuzz"}
        drawn = ["-m", "fuzz and not slow", "-n", "2", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}"]
        if pytest(drawn, counts, env):
            return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--fuzz",
        type=float,
        metavar="MINUTES",
        help="run only the tests that draw at random, with new draws, for this long",
    )
    minutes, counts, began = parser.parse_args().fuzz, Counter[str](), time.monotonic()
    green = everything(counts) if minutes is None else fuzz(minutes, counts)
    print(f"\nin {(time.monotonic() - began) / 60:.1f} minutes: {'all green' if green else 'NOT GREEN, see above'}")
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 0 if green else 1


if __name__ == "__main__":
    sys.exit(main())
