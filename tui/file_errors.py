"""What the system says of a file, in words: which file, and why, without its numbers.
For an OSError that reaches a screen; errors of ours say so themselves."""

from __future__ import annotations

import errno
from pathlib import Path

_REASONS = {
    errno.ENOENT: "it does not exist",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.EACCES: "you have no permission",
    errno.EPERM: "you have no permission",
    errno.EROFS: "its disk can only be read",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is full",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EEXIST: "it already exists",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.ELOOP: "its links lead in a circle",
    errno.EIO: "the disk could not read or write it",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.ESTALE: "the network drive that it is on has changed",
    errno.ETIMEDOUT: "its disk or network drive does not answer",
}


def reason(error: OSError) -> str:
    """Why, as the end of a sentence.

    >>> reason(FileNotFoundError(2, "No such file or directory"))
    'it does not exist'
    >>> reason(OSError("odd"))
    'odd'
    """
    said = error.strerror or str(error) or "the system gives no reason"
    return _REASONS.get(error.errno or 0, said[:1].lower() + said[1:].rstrip("."))


def sentence(error: OSError, does: str = "read", path: Path | str | None = None) -> str:
    """`PATH cannot be read: it does not exist.` The path is the error's own where none is given.

    >>> sentence(FileNotFoundError(2, "No such file or directory", "/home/me/a.jsonl"))
    '/home/me/a.jsonl cannot be read: it does not exist.'
    >>> sentence(OSError(28, "No space left on device"), "written", "/home/me/out")
    '/home/me/out cannot be written: the disk is full.'
    """
    return f"{path or error.filename or 'The file'} cannot be {does}: {reason(error)}."
