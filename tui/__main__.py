"""Entry point of `tuningfork` and `python -m tui`.
Only hands over to the command line; nothing else may happen here, because every start pays for it."""

from __future__ import annotations

import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command line on sys.argv and exit with its code."""
    from tui.cli import cli

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without Unicode shows `?` instead of ending the program
            stream.reconfigure(errors="replace")
    cli.main(prog_name="tuningfork")


if __name__ == "__main__":
    main()
