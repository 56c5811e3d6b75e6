"""Names that users give to runs, datasets and whatever else becomes part of a path or a command line.
One rule for all: a name must not be a path, look like an option, hide a file or hold control characters."""

from __future__ import annotations

import re

from store.errors import BadInput

LONGEST, LONGEST_FOLDER = 100, 64
"""Characters: of any name, and of one that becomes a folder."""
_FOLDER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029/\\]")


def check_name(name: str, what: str, *, folder: bool = False) -> str:
    """`name` when it may be a name of `what` ("run", "dataset"), else BadInput.

    Refused: an empty name, more than 100 characters (a folder: 64), slashes and backslashes, control characters, a
    leading `.` or `-`, spaces at either end. A name that becomes a folder (`folder`) has ASCII letters, digits, dots,
    dashes and underscores only.

    >>> check_name("ember-2", "run", folder=True)
    'ember-2'
    """
    why = _why_not(name, folder)
    if why:
        raise BadInput(
            f"{name[:LONGEST_FOLDER]!r} cannot be the name of a {what}: {why}.",
            where="name",
            todo="Use letters, digits, dots, dashes and underscores, such as support-2."
            if folder
            else "Use a short text without slashes, such as support faq.",
        )
    return name


def _why_not(name: str, folder: bool) -> str:
    if not name.strip():
        return "it is empty"
    limit = LONGEST_FOLDER if folder else LONGEST
    if len(name) > limit:
        return f"it has {len(name)} characters, and {limit} are allowed"
    if _FORBIDDEN.search(name):
        return "it holds a slash, a backslash or a control character"
    if name[0] in ".-":
        return f"it begins with {name[0]!r}"
    if name != name.strip():
        return "it begins or ends with a space"
    if folder and not _FOLDER_NAME.fullmatch(name):
        return "it holds characters other than letters, digits, dots, dashes and underscores"
    return ""


def name_from(text: str, *, folder: bool = False, otherwise: str = "unnamed") -> str:
    """A name that `check_name` takes, as near to a text (a question, a file's name) as can be; `otherwise` when nothing
    of it can be in a name.

    >>> name_from("../What is 1/2?")
    'What is 1 2?'
    """
    limit = LONGEST_FOLDER if folder else LONGEST
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text) if folder else " ".join(_FORBIDDEN.sub(" ", text).split())
    plain = plain.lstrip(" .-")[:limit].rstrip()
    return plain if plain and not _why_not(plain, folder) else otherwise
