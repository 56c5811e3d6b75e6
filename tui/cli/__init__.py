"""The command line: one file per group, each imported only when its command runs.
Commands parse, call store and engine, and print; the work itself is done there."""

from __future__ import annotations

from typing import Any

import click

from tui.cli.command import Root, print_version

__all__ = ["cli"]

EPILOG = """\
Exit codes: 0 done, 1 a fault of Tuningfork, 2 the command or its input must be corrected, 130 interrupted.
Results go to stdout, progress and messages to stderr. `--json`, `--home DIR` and `--debug` work after every command.

\b
Tab completion:
  bash  eval "$(_TUNINGFORK_COMPLETE=bash_source tuningfork)"     in ~/.bashrc
  zsh   eval "$(_TUNINGFORK_COMPLETE=zsh_source tuningfork)"      in ~/.zshrc
  fish  _TUNINGFORK_COMPLETE=fish_source tuningfork | source      in ~/.config/fish/config.fish
"""

COMMANDS = {
    "demo": "tui.cli.demo:demo",
    "data": "tui.cli.data:data",
    "preflight": "tui.cli.preflight:preflight",
    "forecast": "tui.cli.forecast:forecast",
    "train": "tui.cli.train:train",
    "migrate": "tui.cli.migrate:migrate",
    "runs": "tui.cli.runs:runs",
    "diagnose": "tui.cli.diagnose:diagnose",
    "score": "tui.cli.score:score",
    "why": "tui.cli.why:why",
    "compare": "tui.cli.compare:compare",
    "logprobs": "tui.cli.logprobs:logprobs",
    "votes": "tui.cli.votes:votes",
    "chat": "tui.cli.chat:chat",
    "probe": "tui.cli.probe:probe",
    "evaluate": "tui.cli.evaluate:evaluate",
    "evaluations": "tui.cli.evaluations:evaluations",
    "strength": "tui.cli.strength:strength",
    "verdict": "tui.cli.verdict:verdict",
    "export": "tui.cli.export:export",
    "exports": "tui.cli.exports:exports",
    "push": "tui.cli.push:push",
    "jobs": "tui.cli.jobs:jobs",
    "serve": "tui.cli.serve:serve",
    "remote": "tui.cli.remote:remote",
    "mcp": "tui.cli.mcp:mcp",
    "models": "tui.cli.models:models",
    "doctor": "tui.cli.doctor:doctor",
}


@click.command(
    "tuningfork",
    cls=Root,
    commands=COMMANDS,
    epilog=EPILOG,
    example="""
    tuningfork                 open the app
    tuningfork demo            run the whole loop once, unattended
    tuningfork doctor          check that everything it needs is installed
    """,
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=print_version, help="Print the version."
)
@click.option("--remote", is_flag=True, help="Let `tuningfork remote` drive the app that this opens.")
@click.pass_context
def cli(context: click.Context, remote: bool, **_: Any) -> None:
    """Curate pairs, tune a language model, compare it with its base, export the result.

    Without a command it opens the app in this terminal.
    """
    if context.invoked_subcommand is None:
        from tui.cli.app import open_app

        open_app(remote)
