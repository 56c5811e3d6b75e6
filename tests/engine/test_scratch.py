"""Scratch folders: gone at the end of the work, and those of killed processes with the next work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.core import process
from engine.core.scratch import scratch, sweep


def aged(folder: Path) -> None:
    """As if nothing had been written into it for an hour."""
    os.utime(folder, (time.time() - 3600,) * 2)


def test_it_is_private_and_goes_also_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch(tmp_path, "export-") as folder:
        (folder / "sub").mkdir()
        assert folder.stat().st_mode & 0o777 == 0o700 and folder.parent == tmp_path
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from engine.core.scratch import scratch\n"
        "with scratch(Path(sys.argv[1]), 'export-') as folder:\n"
        "    (folder / 'big.gguf').write_bytes(b'x'); print(folder, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=process.environment()
    ) as work:
        assert work.stdout is not None
        left = Path(work.stdout.readline().strip())
        aged(left)
        sweep(tmp_path, "export-")
        assert left.is_dir(), "it is in use"
        work.kill()
    for name in ("export-new", "other-old"):
        (tmp_path / name).mkdir()
    aged(tmp_path / "other-old")
    aged(left)
    sweep(tmp_path, "export-")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["export-new", "other-old"]
