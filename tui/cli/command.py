"""The click classes that all commands share: common options, examples in the help, lazy groups, one way to fail.
Knows how a command is written and how it ends, not what it does."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from tui.cli.session import Session, remember

FAULT, MISTAKE, INTERRUPTED = 1, 2, 130
_ALSO = {"remove": "rm", "delete": "rm", "ls": "list"}
"""Other words for a command of a group."""


def _common(*, json: bool) -> list[click.Parameter]:
    options: list[click.Parameter] = [
        click.Option(["--home"], metavar="DIR", expose_value=False, callback=remember, help="Use this home folder."),
        click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=remember, help="Show the traceback of an error."
        ),
    ]
    if json:
        options.insert(
            0, click.Option(["--json"], is_flag=True, expose_value=False, callback=remember, help="Print JSON.")
        )
    return options


class _WithExamples(click.Command):
    """A command whose help ends with examples; every command must have some."""

    example: str = ""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.example:
            with formatter.section("Examples"):
                for line in self.example.splitlines():
                    formatter.write(f"  {line}\n")
        super().format_epilog(ctx, formatter)


class Command(_WithExamples):
    """A command that does something: takes `--json`, `--home` and `--debug` after its own options."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        kwargs["params"] = [*(kwargs.get("params") or []), *_common(json=True)]
        super().__init__(*args, **kwargs)
        self.example = inspect.cleandoc(example)


class Group(_WithExamples, click.Group):
    """A group of commands; lists them in the order in which they were written."""

    command_class = Command

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = inspect.cleandoc(example)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, _ALSO.get(cmd_name, ""))


class Root(_WithExamples, click.Group):
    """The root command. Imports a command's module when needed; turns every failure into a message and an exit code."""

    def __init__(self, *args: Any, commands: dict[str, str], example: str = "", **kwargs: Any) -> None:
        kwargs["params"] = [*(kwargs.get("params") or []), *_common(json=False)]
        kwargs["invoke_without_command"] = True
        super().__init__(*args, **kwargs)
        self.lazy = commands
        self.example = inspect.cleandoc(example)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self.lazy.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        found: click.Command = getattr(import_module(module), name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would make it exit code 1
            _hush()
            ctx.exit(0)

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run and exit: 0 done, 1 our fault, 2 the user's mistake, 130 interrupted. Never returns."""
        words = list(sys.argv[1:] if args is None else args)
        carried = Session()
        extra = {"obj": carried, **extra, "standalone_mode": False}
        try:
            result = super().main(words, prog_name, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            _hush()
            sys.exit(0)
        except BaseException as error:
            if isinstance(error, SystemExit):
                raise
            sys.exit(_fail(error, carried, "--json" in words))
        finally:
            carried.close()
        sys.exit(result if isinstance(result, int) else 0)


def _hush() -> None:
    """The reader of stdout, such as head, has closed the pipe: print nothing about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: BaseException, carried: Session, as_json: bool) -> int:
    """Print on stderr what went wrong; returns the exit code."""
    from tui.cli.output import complain, translated

    as_json = as_json or carried.as_json
    if carried.debug and not isinstance(error, click.exceptions.Abort | click.ClickException):
        traceback.print_exception(error)
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        shown = {"error": "Interrupted", "what": carried.on_interrupt, "where": None, "todo": carried.next_step}
        complain(shown, as_json=as_json, head="Interrupted.")
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return MISTAKE
    if isinstance(error, click.ClickException):
        complain(_usage(error), as_json=as_json)
        return MISTAKE
    known = translated(error)
    if known is not None:
        complain(known.as_dict(), as_json=as_json)
        return known.exit_code
    what = f"Tuningfork failed unexpectedly with {type(error).__name__}: {error}"
    todo = "Run it again with --debug to see where, and report the output."
    complain({"error": type(error).__name__, "what": what, "where": None, "todo": todo}, as_json=as_json)
    return FAULT


def _usage(error: click.ClickException) -> dict[str, str | None]:
    """Click's complaint about the command line in our shape; the option is `where`, the help `todo`."""
    where = None
    if isinstance(error, click.BadParameter) and error.param is not None:
        where = (error.param.get_error_hint(error.ctx) if error.ctx else error.param.name or "").replace("'", "")
    what = error.message if where else error.format_message()
    if where and isinstance(error, click.MissingParameter):
        what = "It is missing."
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "tuningfork"
    return {"error": "UsageError", "what": what, "where": where, "todo": f"See: {path} --help"}


def print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Callback of `--version`."""
    if wanted and not context.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("tuningfork")
        except PackageNotFoundError:
            number = "(not installed: running from its source folder)"
        click.echo(f"tuningfork {number}")
        context.exit()
