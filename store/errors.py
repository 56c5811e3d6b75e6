"""The error tree of the whole project: what happened, where, and what to do next, with the exit code of each.
Nothing here knows who raises or shows an error; no other module may define a root error of its own."""

from __future__ import annotations


class TuningforkError(Exception):
    """Root of every error that we raise on purpose.

    `what` says what happened; `where` names the file, line or field, if any; `todo` says what to do next.
    `exit_code` is what the command line ends with: 2 for the user's mistake, 1 for ours.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, todo: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.todo = what, where, todo

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.todo}" if self.todo else text

    def as_dict(self) -> dict[str, str | None]:
        """The shape of an error under `--json`."""
        return {"error": type(self).__name__, "what": self.what, "where": self.where, "todo": self.todo}


class UserError(TuningforkError):
    """The user can correct it: wrong input, wrong name, wrong moment."""

    exit_code = 2


class BadInput(UserError):
    """A file, row, field or option that cannot be used."""


class NotFound(UserError):
    """A name or id that does not exist."""


class Conflict(UserError):
    """The name is taken, or the thing changed or is in use meanwhile."""


class NewerStore(UserError):
    """The store was written by a newer version."""


class NoSpace(UserError):
    """Not enough space on the disk."""


class Unsupported(UserError):
    """The model, adapter or format cannot do what was asked; `todo` names what can."""


class Superseded(TuningforkError):
    """A worker whose attempt has ended tried to write: its successor owns the run now."""


class ServerError(TuningforkError):
    """The chat server or a remote endpoint failed or went away."""


class WorkerError(TuningforkError):
    """The training process failed."""


def kind_named(name: object, otherwise: type[TuningforkError]) -> type[TuningforkError]:
    """The class of an error that another process sent by name (`as_dict`); `otherwise` for an unknown name."""
    kind = globals().get(str(name))
    return kind if isinstance(kind, type) and issubclass(kind, TuningforkError) else otherwise
