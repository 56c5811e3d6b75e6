"""Examines what Tuningfork needs on this machine: one mark, one sentence and one remedy for each check.
Looks only: changes nothing, loads no model, and asks about torch in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

from engine.core import process
from engine.gguf import llama_library
from engine.models import default_model
from store import home as homes
from store.errors import TuningforkError
from store.home import Home

Mark = Literal["ok", "warn", "fail"]
_TORCH_S = 60.0
_DISK_BYTES = 2_000_000_000
_MEMORY_BYTES = 3_000_000_000
_CUDA = """
import json, torch
cuda = torch.cuda.is_available()
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({"built": torch.version.cuda, "names": names}))
"""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at. `todo` is empty when nothing needs to be done."""

    name: str
    mark: Mark
    what: str
    todo: str = ""


def examine(home: Home, *, environ: Mapping[str, str] = os.environ) -> Iterator[Diagnosis]:
    """Every check, one after another; the slow one (torch, some seconds) comes last. Raises nothing."""
    checks: tuple[tuple[str, Callable[[], Diagnosis]], ...] = (
        ("python", _python),
        ("cores and memory", _machine),
        ("home", lambda: _home(home)),
        ("disk", lambda: _disk(home)),
        ("store", lambda: _store(home)),
        ("base model", lambda: _base(home)),
        ("llama.cpp", _llama),
        ("terminal", lambda: _terminal(environ)),
        ("torch", lambda: _package("torch", "Training needs it.")),
        ("cuda", _cuda),
    )
    for name, check in checks:
        try:
            yield check()
        except TuningforkError as error:
            yield Diagnosis(
                name, "fail", f"{error.where}: {error.what}" if error.where else error.what, error.todo or ""
            )
        except Exception as error:  # one failing check must not hide the others
            yield Diagnosis(name, "fail", f"This check itself failed: {type(error).__name__}: {error}", "Report this.")


def verdict(found: Sequence[Diagnosis]) -> str:
    """What the checks come to, in one sentence.

    >>> verdict([Diagnosis("python", "ok", "3.12"), Diagnosis("disk", "fail", "It is full.")])
    'Something must be fixed: disk.'
    """
    failed = [check.name for check in found if check.mark == "fail"]
    return f"Something must be fixed: {', '.join(failed)}." if failed else "Tuningfork can run here."


def _python() -> Diagnosis:
    return Diagnosis("python", "ok", f"{platform.python_version()} at {sys.executable}")


def _machine() -> Diagnosis:
    memory = psutil.virtual_memory()
    what = f"{process.cores()} cores, {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB memory free"
    if memory.available < _MEMORY_BYTES:
        return Diagnosis(
            "cores and memory", "warn", what, "A run of the default model takes about 3 GB; close something."
        )
    return Diagnosis("cores and memory", "ok", what)


def _home(home: Home) -> Diagnosis:
    if not home.root.exists():
        parent = next(folder for folder in home.root.parents if folder.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            todo = "Choose another folder with --home DIR or TUNINGFORK_HOME."
            return Diagnosis("home", "fail", f"{home.root} does not exist and cannot be created.", todo)
        return Diagnosis("home", "ok", f"{home.root} will be made on first use.")
    if not home.root.is_dir():
        todo = "Choose another folder with --home DIR or TUNINGFORK_HOME."
        return Diagnosis("home", "fail", f"{home.root} is a file, not a folder.", todo)
    if not os.access(home.root, os.W_OK | os.X_OK):
        return Diagnosis("home", "fail", f"{home.root} cannot be written.", f"Check who owns it: ls -ld {home.root}")
    found = homes.warnings(home)
    if found:
        return Diagnosis("home", "warn", "; ".join(found), "Make it private: chmod 700 " + str(home.root))
    return Diagnosis("home", "ok", f"{home.root}, mode {home.root.stat().st_mode & 0o777:04o}")


def _disk(home: Home) -> Diagnosis:
    place = next(folder for folder in (home.root, *home.root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    what = f"{free / 1e9:.1f} GB free under {place}"
    if free < _DISK_BYTES:
        return Diagnosis("disk", "warn", what, "The default model and its first run take about 1 GB; free some space.")
    return Diagnosis("disk", "ok", what)


def _store(home: Home) -> Diagnosis:
    if not home.database.exists():
        return Diagnosis("store", "ok", "There is none yet; the first command makes it.")
    from store.db import Store

    with Store.open(home, migrate=False) as store:
        faults = store.integrity()
    if faults:
        todo = f"Copy {home.database} away, then restore a backup of it."
        return Diagnosis("store", "fail", "; ".join(faults[:3]), todo)
    beside = home.database.with_name(home.database.name + "-wal")  # what was written last lies there for a while
    taken = sum(path.stat().st_size for path in (home.database, beside) if path.exists())
    return Diagnosis("store", "ok", f"sound, {taken / 1e6:.1f} MB")


def _base(home: Home) -> Diagnosis:
    path = default_model.gguf()
    if default_model.prepared(home) is None:
        what = f"{default_model.NAME} is installed ({path.stat().st_size / 1e6:.0f} MB), not prepared yet"
        return Diagnosis(
            "base model", "ok", what, f"The first use prepares it: tuningfork models add {default_model.NAME}"
        )
    return Diagnosis("base model", "ok", f"{default_model.NAME} is installed and prepared")


def _llama() -> Diagnosis:
    """Loads the library in a process of its own: a build for another processor ends its process."""
    found = _package("llama-cpp-python", "Chat on the CPU needs it.")
    if found.mark != "ok":
        return Diagnosis("llama.cpp", found.mark, found.what, found.todo)
    code = "import llama_cpp; print(llama_cpp.llama_print_system_info().decode())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=_TORCH_S)
    if done.returncode != 0:
        last = (done.stderr.strip() or f"signal {-done.returncode}").splitlines()[-1]
        todo = (
            "Build it for this processor: pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python"
        )
        return Diagnosis("llama.cpp", "fail", f"{found.what} cannot be loaded: {last}", todo)
    if llama_library.uses_amx(done.stdout):
        return Diagnosis(
            "llama.cpp",
            "warn",
            f"{found.what} was compiled with AMX, which can crash, so it is not used; a build without it is faster",
            'CMAKE_ARGS="-DCMAKE_C_FLAGS=-mno-amx-int8 -DCMAKE_CXX_FLAGS=-mno-amx-int8" '
            "pip install --force-reinstall --no-cache-dir --no-deps --no-binary llama-cpp-python llama-cpp-python",
        )
    return Diagnosis("llama.cpp", "ok", found.what)


def _terminal(environ: Mapping[str, str]) -> Diagnosis:
    term, colours = environ.get("TERM", ""), "16"
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        colours = "16 million"
    elif "256" in term:
        colours = "256"
    size = shutil.get_terminal_size((80, 24))
    what = f"{term or 'none'}, {colours} colours, {size.columns}x{size.lines}"
    if environ.get("NO_COLOR"):
        what += ", NO_COLOR is set"
    if not term or term == "dumb":
        return Diagnosis("terminal", "warn", what, "The app needs a real terminal; the commands work without.")
    if size.columns < 80 or size.lines < 24:
        return Diagnosis("terminal", "warn", what, "The app needs 80x24 cells.")
    remote = environ.get("SSH_CONNECTION") or environ.get("SSH_TTY")
    if remote and colours == "16":
        return Diagnosis(
            "terminal", "ok", what, "Over SSH colours get lost; if yours has more: export COLORTERM=truecolor"
        )
    return Diagnosis("terminal", "ok", what)


def _package(name: str, why: str) -> Diagnosis:
    try:
        return Diagnosis(name, "ok", f"{name} {version(name)}")
    except PackageNotFoundError:
        return Diagnosis(name, "fail", f"{name} is not installed.", f"{why} Install it: pip install {name}")


def _cuda() -> Diagnosis:
    try:
        done = subprocess.run([sys.executable, "-c", _CUDA], capture_output=True, text=True, timeout=_TORCH_S)
    except subprocess.TimeoutExpired:
        return Diagnosis("cuda", "warn", f"torch gave no answer in {_TORCH_S:.0f} s.", "Look at the driver: nvidia-smi")
    if done.returncode != 0:
        last = (done.stderr.strip() or f"signal {-done.returncode}").splitlines()[-1]
        return Diagnosis(
            "cuda", "fail", f"torch cannot be imported: {last}", "Install it again: pip install --force-reinstall torch"
        )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["names"]:
        return Diagnosis("cuda", "ok", f"CUDA {found['built']}: {', '.join(found['names'])}")
    if _has_nvidia():
        todo = "The driver may be too old for this torch, or CUDA_VISIBLE_DEVICES hides the GPU."
        return Diagnosis("cuda", "warn", "There is an NVIDIA GPU, but torch cannot use it.", todo)
    return Diagnosis("cuda", "ok", "no GPU: models train and answer on the CPU")


def _has_nvidia() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
