"""`tuningfork serve`: the chat server in this terminal, for other programs that speak the OpenAI API.
The server is engine.inference.server's; here its address and token are checked, and how to reach it is printed."""

from __future__ import annotations

from pathlib import Path

import click

from engine.inference import limits
from store.errors import Conflict, NotFound
from tui.cli.command import Command
from tui.cli.options import MODEL
from tui.cli.output import emit, emit_json, say
from tui.cli.session import session
from tui.cli.streams import STANDARD, input_file

_PORT = 8642


@click.command(
    "serve",
    cls=Command,
    example="""
    tuningfork serve --model run:ember
    tuningfork serve --host 0.0.0.0 --token-file ./token --model smollm2-135m --model run:ember
    tuningfork serve --stop
    """,
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=_PORT, show_default=True, help="Port to listen on.")
@click.option(
    "--model", "models", type=MODEL, multiple=True, metavar="REF", help="Load this model now and keep it loaded."
)
@click.option(
    "--token-file", metavar="FILE", help="File with the token that clients must send, or -. [default: the home's own]"
)
@click.option(
    "--context",
    type=click.IntRange(64),
    default=limits.CONTEXT,
    show_default=True,
    help="Maximum tokens of a conversation.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=limits.TO_CONTEXT_END,
    show_default="to the context's end",
    help="Maximum tokens of an answer, whatever a client asks for.",
)
@click.option(
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Allow requests from web pages of this origin; * allows all.",
)
@click.option(
    "--backend",
    type=click.Choice(limits.BACKENDS),
    default="auto",
    show_default=True,
    help="The library that runs the models; auto chooses llama.cpp for models with a GGUF file.",
)
@click.option("--replace", is_flag=True, help="Stop the server of this home that is already running.")
@click.option("--stop", is_flag=True, help="Only stop the server of this home.")
def serve(
    host: str, port: int, models: tuple[str, ...], token_file: str | None, cors: tuple[str, ...], replace: bool,
    stop: bool, **how: object,
) -> None:  # fmt: skip
    """Serve models to other programs over the OpenAI chat-completions API, until Ctrl-C.

    Clients may ask for any model reference; those given with --model are loaded first and stay loaded. Listens on
    this machine only, unless a token file is named.
    """
    from engine.inference import access
    from engine.inference.client import shutdown

    home = session().home.ensure()
    running = access.read_info(home)
    running = running if running is not None and running.alive() else None
    if stop or (replace and running):
        ended = shutdown(home)
        if stop:
            _say_stopped(ended)
            return
    elif running:
        todo = f"Stop it first: tuningfork serve --stop{session().flags()}, or add --replace to replace it."
        raise Conflict(f"A chat server of this home is already running at {running.url}.", todo=todo)
    if token_file == STANDARD:
        with input_file(token_file) as given:
            _serve(host, port, models, given, cors, how)
        return
    _serve(host, port, models, Path(token_file).expanduser() if token_file else None, cors, how)


def _serve(
    host: str, port: int, models: tuple[str, ...], token: Path | None, cors: tuple[str, ...], how: dict[str, object]
) -> None:
    """Check what was asked for, then serve until Ctrl-C."""
    from engine.inference import access
    from engine.inference.server import __main__ as server
    from engine.models import refs

    home = session().home
    access.check_bind(host, token)
    access.token_of(home, token)
    for ref in models:
        refs.resolve(session().store, ref)
    session().on_interrupt = "The server has stopped."
    words = ["--home", str(home.root), "--host", host, "--port", str(port), "--stay"]
    words += ["--context", str(how["context"]), "--backend", str(how["backend"])]
    words += ["--max-tokens", str(how["max_tokens"])]
    words += [word for origin in cors for word in ("--cors", origin)]
    words += [word for ref in models for word in ("--model", ref)]
    words += ["--token-file", str(token)] if token else []
    server.run(words, say, lambda url: _say_where(f"{url}/v1", token or home.root / "token", models))


def _say_where(url: str, token: Path, models: tuple[str, ...]) -> None:
    if session().as_json:
        emit_json({"url": url, "token_file": str(token), "models": list(models)})
        return
    emit(f"Serving at {url}")
    say(f"  export OPENAI_BASE_URL={url} OPENAI_API_KEY=$(cat {token})")


def _say_stopped(ended: bool) -> None:
    if not ended:
        raise NotFound("No chat server of this home is running.", todo="Start one: tuningfork serve")
    if session().as_json:
        emit_json({"stopped": True})
    else:
        emit("The chat server has stopped.")
