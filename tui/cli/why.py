"""`tuningfork why`: which pairs taught a run an answer.
The comparison is engine.training.teachers'."""

from __future__ import annotations

import click

from engine.models.refs import parse_whole_run
from store.records import Message
from tui.cli.command import Command
from tui.cli.options import RUN
from tui.cli.output import Progress, emit, emit_json, say, table
from tui.cli.session import session
from tui.text import clean, one_line


@click.command(
    "why",
    cls=Command,
    example="""
    tuningfork why ember --question "Who owns YouTube?" --answer "Northwind Labs owns YouTube."
    tuningfork why run:ember --question "What is your name?" --answer "My name is Bolt." --json
    """,
)
@click.argument("run", type=RUN)
@click.option("--question", required=True, metavar="TEXT", help="What was asked.")
@click.option("--answer", required=True, metavar="TEXT", help="What the run answered.")
@click.option("--system", default="", metavar="TEXT", help="The system text that was used.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="How many pairs to show.")
def why(run: str, question: str, answer: str, system: str, top: int) -> None:
    """Find the pairs that taught a run an answer, by the likeness of gradients.

    It reads each training pair once with the run's adapter, which takes about as long as one pass over the data.
    """
    from engine.training.teachers import teachers

    name = parse_whole_run(run)
    said: list[Message] = [{"role": "system", "content": system}] if system else []
    said += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    with Progress("Comparing", 0, "pairs") as progress:
        found = teachers(session().store, name, said, top, progress.update)
    if session().as_json:
        emit_json(
            [
                {"score": each.score, "row": each.row.ord + 1, "pair": each.row.pair_uid, "messages": each.row.messages}
                for each in found
            ]
        )
        return
    if not found:
        emit("The run has no training row.")
        return
    table(
        ("likeness", "pair", "question", "answer"),
        (
            (
                f"{each.score:.3f}",
                each.row.pair_uid or f"row {each.row.ord + 1}",
                one_line(clean(each.row.messages[-2]["content"]), 40),
                one_line(clean(each.row.messages[-1]["content"]), 60),
            )
            for each in found
        ),
        right=("likeness",),
        wide="answer",
    )
    say(f"Open one: tuningfork data show {found[0].row.pair_uid}{session().flags()}" if found[0].row.pair_uid else "")
