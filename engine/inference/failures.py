"""What went wrong in the chat server, as one of the project's errors: a sentence that says what to install or change.
Looks at names of exceptions only, because the libraries that raise them are imported by their backends alone."""

from __future__ import annotations

import errno

from store.errors import BadInput, NoSpace, NotFound, ServerError, TuningforkError, Unsupported

_LOG = "Its log says more: logs/chat-server.log"


def named(error: BaseException) -> TuningforkError:
    """The error itself when it is one of ours, else the one that says what it means."""
    if isinstance(error, TuningforkError):
        return error
    what = _sentence(error)
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ImportError):
        return _missing(error)
    if "OutOfMemoryError" in names or isinstance(error, MemoryError) or "out of memory" in what.casefold():
        todo = "Close other programs or lanes, use a smaller model, or start the server with a smaller --context."
        return ServerError(f"There is not enough memory for this model: {what}", todo=todo)
    if isinstance(error, OSError):
        return _of_system(error)
    if "TemplateError" in names:
        return BadInput(f"The model's chat template refuses this conversation: {what}", where="messages")
    if names & {"SafetensorError", "UnpicklingError", "BadZipFile"}:
        todo = "Download or copy the model again, whole."
        return BadInput(f"The model's files cannot be read: {what}", todo=todo)
    if isinstance(error, UnicodeError):
        return BadInput("The text holds half of a surrogate pair, which no tokenizer can read.", where="messages")
    return ServerError(f"The chat server failed ({type(error).__name__}): {what}", todo=_LOG)


def _missing(error: ImportError) -> TuningforkError:
    """Which package is missing. transformers names what a model needs only in the text of the error."""
    package = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package:
        what = f"The model needs the Python package {package}, which is not installed."
        return Unsupported(what, todo=f"pip install {package}, then restart the chat server.")
    what = f"A Python package that the model needs is missing or broken: {_sentence(error)}"
    return Unsupported(what, todo="Install what it names, then restart the chat server.")


def _of_system(error: OSError) -> TuningforkError:
    where = str(error.filename) if error.filename else None
    if error.errno == errno.ENOSPC:
        return NoSpace("The disk is full.", where=where, todo="Free some space, then ask again.")
    if isinstance(error, FileNotFoundError):
        return NotFound("A file of the model is gone from the disk.", where=where, todo="Restore it, or add it again.")
    if isinstance(error, PermissionError):
        return BadInput("A file of the model may not be read.", where=where, todo="Change its permissions.")
    return ServerError(f"The chat server failed: {_sentence(error)}", where=where, todo=_LOG)


def _sentence(error: BaseException) -> str:
    """The first line that says something, not too long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
