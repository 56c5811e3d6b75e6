"""`tuningfork chat`: a conversation with one model, line by line, or one question for a script.
The history is kept while the command runs and nowhere else; the app keeps conversations."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from store.canon import new_uid
from store.errors import ServerError, TuningforkError, UserError
from tui.cli.asking import check_prompt, connect, figures, warm
from tui.cli.command import Command
from tui.cli.options import MODEL, sampling_of, sampling_options
from tui.cli.output import complain, emit, emit_json, say
from tui.cli.session import session
from tui.text import clean

if TYPE_CHECKING:
    from engine.inference.client import Client, Done
    from engine.inference.sampling import Sampling
    from store.records import Message

_HELP = "/clear starts again, /again [SEED] answers the last question again, /system TEXT sets the system text, /quit."


@click.command(
    "chat",
    cls=Command,
    example="""
    tuningfork chat run:ember
    tuningfork chat smollm2-135m --prompt "Who made you?" --json
    printf 'My name is Ada.\\nWhat is my name?\\n' | tuningfork chat smollm2-135m
    """,
)
@click.argument("ref", type=MODEL)
@click.option("--prompt", metavar="TEXT", help="Ask this one question and exit.")
@click.option("--system", default="", metavar="TEXT", help="The system text.")
@sampling_options
def chat(ref: str, prompt: str | None, system: str, **given: Any) -> None:
    """Talk to a model. Without --prompt each line of stdin is a turn; Ctrl-C stops an answer, Ctrl-D exits."""
    from engine.models import refs

    sampling = sampling_of(given)
    refs.resolve(session().store, ref)
    if prompt is not None:
        check_prompt(prompt)
    with asyncio.Runner() as runner:
        talk = Talk(runner, runner.run(connect(session().home)), ref, sampling, system)
        try:
            runner.run(warm(talk.client, ref))
            if prompt is not None:
                talk.turn(prompt, stay=False)
            else:
                talk.go_on()
        finally:
            runner.run(talk.client.close())


class Talk:
    """A conversation with one model. Only finished turns join the history that the model reads."""

    def __init__(self, runner: asyncio.Runner, client: Client, model: str, sampling: Sampling, system: str) -> None:
        self.client, self.model, self.sampling, self.system = client, model, sampling, system
        self._runner = runner
        self._turns: list[Message] = []
        self._interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._lane = f"cli-{new_uid()}"  # its own, so a first answer never depends on what a server kept
        self._answered_by = model
        self._noted = ""

    def go_on(self) -> None:
        """Take turns until the user leaves or stdin ends."""
        if self._interactive:
            say(f"{self.model}. Ctrl-C stops an answer, Ctrl-D exits, /help shows the commands.")
        for line in self._lines():
            if self._interactive and line.startswith("/"):
                if not self._command(line):
                    return
            elif line.strip():
                self.turn(line, stay=self._interactive)

    def _lines(self) -> Iterator[str]:
        if not self._interactive:
            yield from (line.rstrip("\n") for line in sys.stdin)
            return
        import readline  # noqa: F401 - gives input() history and line editing

        while True:
            try:
                yield input("> ")
            except EOFError:
                say("")
                return

    def turn(self, text: str, *, stay: bool) -> None:
        """Ask and print. With `stay` an error or Ctrl-C ends the answer, otherwise it ends the command."""
        try:
            done = self._runner.run(self._ask(check_prompt(text)))
        except KeyboardInterrupt:
            if not stay:
                raise
            say("\n(stopped; this turn is not part of the conversation)")
            return
        except TuningforkError as error:
            if not stay:
                raise
            complain(error.as_dict(), as_json=False)
            return
        self._show(text, done)
        if done.stop == "error":
            if not stay:
                raise ServerError(done.error or "The answer broke off.", todo="Ask again.")
        else:
            self._turns += [{"role": "user", "content": text}, {"role": "assistant", "content": done.text}]

    async def _ask(self, text: str) -> Done:
        from engine.inference.client import Done

        head = [{"role": "system", "content": self.system}] if self.system else []
        messages = [*head, *self._turns, {"role": "user", "content": text}]
        pieces: Any = self.client.stream(self.model, messages, self.sampling, self._lane)
        try:
            async for piece in pieces:
                if isinstance(piece, Done):
                    return piece
                if not session().as_json:
                    sys.stdout.write(clean(piece.text))
                    sys.stdout.flush()
        finally:
            if hasattr(pieces, "aclose"):
                await pieces.aclose()
        return Done("", stop="error", error="The answer broke off before its end.")

    def _show(self, text: str, done: Done) -> None:
        from engine.evaluation.prompt_sets import answer_json
        from engine.models.refs import checkpoint

        if session().as_json:
            emit_json({"prompt": text, "seed": self.sampling.seed, **answer_json(self.model, done)})
            return
        emit()
        if self._interactive:
            say(f"({figures(done)})")
        if done.reasoning:
            say(f"(thought {len(done.reasoning.split()):,} words first; --json shows them)")
        if done.note and done.note != self._noted:
            self._noted = done.note
            say(f"({done.note})")
        step = checkpoint(done.model, self.model)
        if step is not None and done.model != self._answered_by:
            self._answered_by = done.model
            say(f"({self.model} is still being tuned; its checkpoint of step {step} answered)")

    def _command(self, line: str) -> bool:
        """Run a command, a line that begins with a slash; False to leave."""
        word, _, rest = line.partition(" ")
        match word:
            case "/quit" | "/exit":
                return False
            case "/clear":
                self._turns.clear()
                say("(conversation cleared)")
            case "/system":
                self.system = rest.strip()
                say("(system text set)" if self.system else "(no system text)")
            case "/again":
                self._again(rest.strip())
            case _:
                say(_HELP)
        return True

    def _again(self, seed: str) -> None:
        if not self._turns:
            say("(there is nothing to answer again)")
            return
        try:
            self.sampling = replace(self.sampling, seed=int(seed)) if seed else self.sampling
        except ValueError:
            complain(UserError(f"{seed!r} is not a seed.", todo="Write a whole number.").as_dict(), as_json=False)
            return
        question = self._turns[-2]["content"]
        del self._turns[-2:]
        self.turn(question, stay=True)
