"""llama.cpp's own converter for architectures that we do not write ourselves: fetched on request, run as a process.
Of the same commit as the installed llama.cpp, with its own gguf library; what it makes is verified like ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from engine.core import child, process
from store.errors import Unsupported, WorkerError
from store.home import Home

_PARTS = ("/convert_hf_to_gguf.py", "/convert_lora_to_gguf.py", "/conversion/", "/gguf-py/")
_NEEDS, _BESIDE = "sentencepiece", "needs"
"""What the script imports for most models and we do not, and the folder beside the script where it is put."""
TYPES = ("f32", "f16", "bf16", "q8_0")


def fetch(home: Home) -> Path:
    """The folder with convert_hf_to_gguf.py in the home's cache; downloaded from the package index once.

    Raises WorkerError when it cannot be had.
    """
    wanted = f"llama-cpp-python=={version('llama-cpp-python')}"
    place = home.cache / f"converter-{version('llama-cpp-python')}"
    if (place / "convert_hf_to_gguf.py").is_file():
        return place
    part = home.cache / f".{place.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    try:
        # pip asks the archive's build backend for its name; isolated, it gets that backend by itself
        said = _pip("download", "--no-deps", "--no-binary", "llama-cpp-python", "-d", str(part), wanted)
        archive = next(part.glob("*.tar.gz"), None)
        if archive is None:
            raise _unfetched(wanted, said)
        _unpack(archive, part)
        made = next(part.glob("*/vendor/llama.cpp"))
        said = _pip("install", "--no-deps", "--target", str(made / _BESIDE), _NEEDS)
        if not (made / _BESIDE / _NEEDS).is_dir():
            raise _unfetched(_NEEDS, said)
        made.replace(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def _pip(*arguments: str) -> str:
    """Run pip; returns its error output."""
    argv = [sys.executable, "-m", "pip", arguments[0], "--quiet", *arguments[1:]]
    return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600).stderr


def _unfetched(what: str, said: str) -> WorkerError:
    why = said.strip()[-200:] or "no archive"
    return WorkerError(
        f"llama.cpp's converter could not be fetched: {why}", where=what, todo="Check the network, then try again."
    )


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        inside = (m for m in packed.getmembers() if "/vendor/llama.cpp/" in m.name)
        packed.extractall(folder, [m for m in inside if any(part in m.name for part in _PARTS)], filter="data")


def convert(home: Home, folder: Path, out: Path, quant: str) -> Path:
    """Have it write the merged `folder` to `out` as one of `TYPES`. Raises Unsupported with the last line printed."""
    converter = fetch(home) / "convert_hf_to_gguf.py"
    argv = [sys.executable, str(converter), str(folder), "--outfile", str(out), "--outtype", quant]
    env = process.environment() | {"PYTHONPATH": str(converter.with_name(_BESIDE))}  # and its own gguf library
    try:
        child.run(argv, "llama.cpp's converter", env=env)
        said = "it wrote no file"
    except WorkerError as error:
        said = error.todo or error.what
    if not out.is_file():
        raise Unsupported(
            f"llama.cpp's converter refused the model: {said}",
            where=str(folder),
            todo="Export --to merged, and ask its makers.",
        )
    return out
