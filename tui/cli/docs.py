"""Writes docs/cli.md from the commands themselves: `python -m tui.cli.docs > docs/cli.md`.
A test compares the file with this; everything in it comes from the commands' help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from tui.cli import cli
from tui.cli.command import _WithExamples

_COMMON = ("--json", "--home", "--debug", "--help")
_HEAD = """\
# The command line

<!-- Written by `python -m tui.cli.docs > docs/cli.md`; change the commands' help instead. -->
"""


def commands(group: click.Group = cli, path: str = "tuningfork") -> Iterator[tuple[str, click.Command]]:
    """Every command under `group` with what to type for it, groups before their commands."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def markdown() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_about("tuningfork", cli, 1), *_contents(), *_all()]).rstrip() + "\n"


def _contents() -> list[str]:
    lines = [f"- [`{path}`](#{path.replace(' ', '-')}) {each.get_short_help_str(90)}" for path, each in commands()]
    return ["## Commands", "", *lines, ""]


def _all() -> Iterator[str]:
    for path, command in commands():
        yield f"## {path}"
        yield ""
        yield from _about(path, command, 2)


def _about(path: str, command: click.Command, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    pieces = command.collect_usage_pieces(context)
    yield from ("```", " ".join([path, *pieces]), "```", "")
    yield from (_text(command.help), "")
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    own = [o for o in options if not set(o.opts) & set(_COMMON)]
    if own:
        yield from ("| option | |", "|---|---|")
        for option in own:
            record = option.get_help_record(context)
            if record:
                name, text = (re.sub(r"\s+", " ", part).replace("|", "\\|") for part in record)
                yield f"| `{name}` | {text} |"
        yield ""
    if isinstance(command, _WithExamples) and command.example:
        yield from ("```", command.example, "```", "")
    if level == 1 and command.epilog:
        yield from (_text(command.epilog), "")


def _text(text: str | None) -> str:
    """Help text as Markdown: a paragraph marked `\\b` keeps its lines."""
    blocks = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(f"```{block[1:]}\n```" if block.startswith("\b\n") else block for block in blocks)


if __name__ == "__main__":
    click.echo(markdown(), nl=False)
