"""Explains what went wrong in a worker: one sentence, what to do next, and where the log is.
Recognises errors by name, so that a library need not be importable for its failure to be explained."""

from __future__ import annotations

import errno
from pathlib import Path

from engine.core.files import causes, is_disk_full
from engine.training.worker.contracts import Diverged
from store.errors import BadInput, Conflict, TuningforkError, Unsupported

_MEMORY_TYPES = {"MemoryError", "OutOfMemoryError"}
_EXCHANGE_TYPES = {"DistBackendError", "DistNetworkError"}
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc")


def explain(error: BaseException, log: Path) -> str:
    """What, where and what to do, then the path of the log: the text that a failed run carries."""
    text = str(error) if isinstance(error, TuningforkError) else sentence(error)
    return f"{text}\n  Log: {log}"


def sentence(error: BaseException) -> str:
    """One or two lines for an error that is not ours: a known problem by its name, else its type and first line."""
    if is_disk_full(error):
        return "The disk is full.\n  Free some space, then resume the run: it continues from its last checkpoint."
    if is_out_of_memory(error):
        return (
            "The machine ran out of memory.\n"
            "  Take a smaller batch_size or max_length, method qlora, or a smaller model; close other programs."
        )
    if is_lost_process(error):
        return (
            "This process lost another one of the run: it has ended.\n"
            "  Read the log for its last words, and resume the run: it continues from its last checkpoint."
        )
    for link in causes(error):
        if isinstance(link, ModuleNotFoundError):
            return (
                f"The Python module {link.name} is missing from this installation.\n"
                "  Install Tuningfork again with its pinned dependencies (in a checkout: make setup)."
            )
    if isinstance(error, SystemExit):
        return f"A library ended the process (exit code {error.code})."
    line = first_line(error)
    return f"{type(error).__name__}: {line}" if line else f"{type(error).__name__} without a message."


def repeats(error: BaseException) -> bool:
    """Whether trying again would fail in the same way: data, model or base are wrong, or the training diverged."""
    return isinstance(error, BadInput | Unsupported | Conflict | Diverged)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in Python, in torch on the CPU, or on a GPU."""
    return any(
        type(link).__name__ in _MEMORY_TYPES
        or (isinstance(link, OSError) and link.errno == errno.ENOMEM)
        or (isinstance(link, RuntimeError) and any(word in str(link).lower() for word in _MEMORY_WORDS))
        for link in causes(error)
    )


def is_lost_process(error: BaseException) -> bool:
    """Whether an exchange between processes failed, which happens in any pass of a sharded model."""
    return any(
        type(link).__name__ in _EXCHANGE_TYPES or (isinstance(link, RuntimeError) and "gloo/transport" in str(link))
        for link in causes(error)
    )


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first line of an error's text that is not blank."""
    return next((line.strip()[:limit] for line in str(error).splitlines() if line.strip()), "")
