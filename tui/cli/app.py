"""Opens the app in this terminal.
The only place of the command line that imports textual."""

from __future__ import annotations

import os
import sys

from store.errors import UserError
from tui.cli.session import session


def open_app(remote: bool = False) -> None:
    """Run the app on the session's home until the user quits; exits with the app's own code. With `remote`, or the
    setting of that name, it hears `tuningfork remote`."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "The app needs a terminal, but its input or output is a pipe or a file.",
            todo="Run it in a terminal, or use a command: tuningfork --help",
        )
    if os.environ.get("TERM") == "dumb":
        raise UserError("This terminal cannot move its cursor (TERM=dumb).", todo="Use a command: tuningfork --help")
    from tui import settings
    from tui.app import TuningforkApp

    store, access = session().store, None
    if remote or settings.load(store.home).remote == "on":
        from tui.remote.protocol import RemoteAccess

        access = RemoteAccess()
    app = TuningforkApp(store, access)
    code = app.run()
    sys.exit(code or app.return_code or 0)
