"""`tuningfork migrate`: another program's training configuration as ours.
Reading it is engine.training.migrating's."""

from __future__ import annotations

from pathlib import Path

import click

from store.errors import Conflict
from tui.cli.command import Command
from tui.cli.output import emit, emit_json, say
from tui.cli.session import session
from tui.formatting import count


@click.command(
    "migrate",
    cls=Command,
    example="""
    tuningfork migrate llama3_lora_sft.yaml --out run.yaml
    tuningfork train --config run.yaml --dataset support
    """,
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from", "program", type=click.Choice(["llamafactory", "axolotl", "trl", "autotrain"]),
    help="The program that the file is for. [default: the one whose keys it has]",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Write the result to this new file.")
def migrate(file: Path, program: str | None, out: Path | None) -> None:
    """Turn a configuration of LLaMA-Factory, Axolotl, TRL or AutoTrain into one for `train --config`.

    Lists the keys that have no counterpart here, and what means something else.
    """
    from engine.training import migrating
    from store.files import replacing

    found = migrating.migrate(file, program)
    if out is not None:
        if out.exists():
            raise Conflict("The file is there already.", where=str(out), todo="Choose a new name.")
        with replacing(out) as part:
            part.write_text(found.text, "utf-8")
    if session().as_json:
        emit_json(
            {
                "from": found.program.name,
                "config": found.config.to_json(),
                "yaml": found.text,
                "changed": found.changed,
                "no_counterpart": found.missing,
            }
        )
        return
    say(f"This is a configuration of {found.program.title}.")
    for sentence in found.changed:
        say(f"  changed: {sentence}")
    for each in found.missing:
        say(f"  no counterpart: {each.key} {each.value} (line {each.line}). {each.why}".rstrip())
    if out is None:
        emit(found.text.rstrip())
    else:
        say(f"Wrote {out}: {count(len(found.missing), 'key')} without counterpart.")
