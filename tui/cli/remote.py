"""`tuningfork remote`: scripts drive the open app, or one without a screen, over the home's socket.
What is possible and what needs a person is decided in tui.remote; here it is asked and printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from store.errors import BadInput
from tui.cli.command import Group
from tui.cli.output import emit, emit_json, say, table, to_json
from tui.cli.session import session
from tui.text import clean


@click.group(
    "remote",
    cls=Group,
    example="""
    tuningfork remote serve --size 120x40      (in one terminal; the rest in another)
    tuningfork remote wait --text Data
    tuningfork remote mode train
    tuningfork remote actions
    tuningfork remote call train.new
    tuningfork remote fields
    tuningfork remote fill length "20 steps"
    tuningfork remote show
    tuningfork remote quit
    """,
)
def remote() -> None:
    """Drive the open app from a script: run its actions, press its keys, fill its fields, read its screen.

    It is off unless asked for: start the app with `tuningfork --remote`, or with "remote": "on" in settings.json of the
    home, or run one without a terminal with `tuningfork remote serve`. Only your own user on this machine can call it.

    A script can do what keys can, but a question about something that cannot be undone (delete, remove, overwrite,
    send, stop at once) is answered at the screen; until then the script can only cancel it, with Escape. What removes
    something without a question is refused, and so is what needs the terminal itself (suspend, your own editor).
    """


@remote.command(
    "actions",
    example="""
    tuningfork remote actions
    tuningfork remote actions --json
    """,
)
def actions() -> None:
    """List what the open screen can do: the name to call, its key, what it does, where, and if that is possible now."""
    found = _ask("actions")["actions"]
    if session().as_json:
        emit_json(found)
        return
    rows = [(a["name"], a["key"], a["help"] or a["label"], a["target"], a["enabled"]) for a in found]
    table(("name", "key", "does", "target", "enabled"), rows, wide="does")


@remote.command("call", example="tuningfork remote call data.new")
@click.argument("action")
def call(action: str) -> None:
    """Run an action by its name, then wait until the app is idle again. An action of another mode opens that mode.

    `tuningfork remote actions` lists the names. What takes longer than 5 seconds continues: see `remote wait`.
    """
    _say_done(_ask("call", action=action))


@remote.command(
    "press",
    example="""
    tuningfork remote press f3 n
    tuningfork remote press ctrl+s
    """,
)
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
def press(keys: tuple[str, ...]) -> None:
    """Press keys one after another, such as a, ?, enter, escape, f2, ctrl+s or shift+down."""
    _say_done(_ask("press", keys=list(keys)))


@remote.command(
    "type",
    example="""
    tuningfork remote type "Who are you?"
    tuningfork remote type --paste "A long text."
    """,
)
@click.option("--paste", is_flag=True, help="Paste the text in one piece instead of typing it.")
@click.argument("text")
def type_text(text: str, paste: bool) -> None:
    """Type a text into the field that has the focus. A line break presses Enter, unless the text is pasted."""
    _say_done(_ask("paste" if paste else "type", text=text))


@remote.command(
    "fields",
    example="""
    tuningfork remote fields
    tuningfork remote fields --json
    """,
)
def fields() -> None:
    """List the fields, lists and buttons of the screen: name, kind, label, and what each holds.

    Of a list it shows the row under the cursor; --json has all rows, and the options of each choice.
    """
    found = _ask("fields")["fields"]
    if session().as_json:
        emit_json(found)
        return
    rows = [(f["name"], f["kind"], f["label"], _held(f)) for f in found]
    table(("name", "kind", "label", "holds"), rows, wide="holds")


@remote.command(
    "fill",
    example="""
    tuningfork remote fill length "20 steps"
    tuningfork remote fill method lora
    tuningfork remote fill quants q8_0,q4_k_m
    """,
)
@click.argument("field")
@click.argument("text")
def fill(field: str, text: str) -> None:
    """Replace what a field holds, select an option of a choice, or several of a list, with commas between.

    FIELD is a name or a label that `tuningfork remote fields` lists.
    """
    _say_done(_ask("fill", field=field, text=text))


@remote.command(
    "choose",
    example="""
    tuningfork remote choose ember-1
    tuningfork remote choose --open Start
    """,
)
@click.option("--open", "open_it", is_flag=True, help="Press Enter there.")
@click.argument("text")
def choose(text: str, open_it: bool) -> None:
    """Go to the row that has this text, or to the button that says it, in upper or lower case.

    Every list of the screen is searched; of the pairs in Data only those in view, so search for others first. Where
    several rows have the text, none is chosen and the error names them: type more of the one you mean.
    """
    _say_done(_ask("choose", text=text, open=open_it))


@remote.command("mode", example="tuningfork remote mode train")
@click.argument("name")
def mode(name: str) -> None:
    """Show a mode: data, train, compare, export or evaluate."""
    _say_done(_ask("mode", mode=name))


@remote.command(
    "show",
    example="""
    tuningfork remote show
    tuningfork remote show --json
    tuningfork remote show --svg screen.svg
    """,
)
@click.option("--svg", metavar="FILE", help="Write a picture of the screen to this file instead.")
def show(svg: str | None) -> None:
    """Print the screen as text; mode, focus and whether a question waits for a person go to stderr.

    --json adds what the screen is doing by itself, the last notices, and the jobs that run or wait.
    """
    if svg is not None:
        from store.files import replacing

        picture = _ask("svg")["svg"]
        with replacing(Path(svg).expanduser()) as unfinished:
            unfinished.write_text(picture, "utf-8")
        emit_json({"file": svg}) if session().as_json else emit(svg)
        return
    _print_shown(_ask("show"))


@remote.command(
    "wait",
    example="""
    tuningfork remote wait --text "Ready" --timeout 10
    tuningfork remote wait --ready                   (the form is checked, the answers have ended)
    tuningfork remote wait --action runs.compare
    tuningfork remote wait --jobs-done --timeout 3600
    """,
)
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="Until one row has this; may be repeated.")
@click.option("--gone", multiple=True, metavar="TEXT", help="Until no row has this; may be repeated.")
@click.option("--mode", metavar="MODE", help="Until this mode is shown.")
@click.option(
    "--action", "actions", multiple=True, metavar="NAME", help="Until this action is possible; may be repeated."
)
@click.option("--ready", is_flag=True, help="Until the screen has finished: no check, answer or import under way.")
@click.option("--jobs-done", is_flag=True, help="Until no run, export or other job runs or waits.")
@click.option("--timeout", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to wait at most.")
def wait(
    texts: tuple[str, ...],
    gone: tuple[str, ...],
    mode: str | None,
    actions: tuple[str, ...],
    ready: bool,
    jobs_done: bool,
    timeout: float,
) -> None:
    """Wait until all of this is true, then print the screen. Also waits for an app that is still starting.

    The exit code is 2 when that takes longer than the timeout. A job that is done may have failed: `tuningfork runs
    show` and `tuningfork exports list` say how it ended.
    """
    from tui.remote.client import Awaited, RemoteClient

    awaited = Awaited(texts, gone, mode, actions, ready, jobs_done)
    if awaited == Awaited():
        raise BadInput(
            "There is nothing to wait for.", todo="Say what, for example: --text TEXT, --ready or --jobs-done."
        )
    with RemoteClient(session().home, wait_s=timeout) as client:
        _print_shown(client.wait(awaited, timeout))


@remote.command("quit", example="tuningfork remote quit")
def quit_app() -> None:
    """Quit the app. In a terminal it asks its user first if work runs or is unsaved; drafts are always kept."""
    asks = _ask("quit")["asks"]
    if session().as_json:
        emit_json({"asks": asks})
    else:
        emit("The app asks its user first." if asks else "The app quits.")


@remote.command(
    "serve",
    example="""
    tuningfork remote serve
    tuningfork remote serve --size 200x50 --allow-removing
    """,
)
@click.option(
    "--size", default="120x40", show_default=True, metavar="COLUMNSxROWS", help="Size of its screen in cells."
)
@click.option("--allow-removing", is_flag=True, help="Let callers remove things and confirm what cannot be undone.")
def serve(size: str, allow_removing: bool) -> None:
    """Run the app without a terminal until `tuningfork remote quit` or Ctrl-C. Prints its socket once it listens."""
    import sys

    from tui.app import TuningforkApp
    from tui.remote import protocol

    cells = _cells(size)
    address = str(protocol.address(session().home))
    line = to_json({"socket": address}) if session().as_json else f"Listening at {clean(address)}"
    stdout = sys.stdout  # the app takes its place while it runs

    def ready(_: Path) -> None:
        stdout.write(line + "\n")
        stdout.flush()

    app = TuningforkApp(session().store, protocol.RemoteAccess(allow_removing, ready))
    code = app.run(headless=True, size=cells)
    if app.remote_error is not None:
        raise app.remote_error
    sys.exit(code or app.return_code or 0)


def _cells(size: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", size)
    columns, rows = (int(n) for n in found.groups()) if found else (0, 0)
    if not (20 <= columns <= 500 and 8 <= rows <= 200):
        todo = "Write columns and rows, 20x8 to 500x200, such as 120x40."
        raise BadInput("This is not the size of a screen.", where="--size", todo=todo)
    return columns, rows


def _ask(do: str, **what: Any) -> dict[str, Any]:
    from tui.remote.client import RemoteClient

    with RemoteClient(session().home) as client:
        return client.ask(do, **what)


def _say_done(done: dict[str, Any]) -> None:
    if session().as_json:
        emit_json(done)
        return
    emit(f"{done['mode']}: {done['screen']}")
    if not done["idle"]:
        say("The app is still working on it.")
    elif done["working"]:
        say(f"The app is still {done['working']}; to wait for that: tuningfork remote wait --ready")


def _held(field: dict[str, Any]) -> str:
    """What a field holds, in one line."""
    if "rows" in field:
        at = field["at"]
        count = f"{len(field['rows']) + field['more']} rows"
        return count if at is None or at >= len(field["rows"]) else f"{field['rows'][at]}  ({count})"
    return str(field.get("value", ""))


def _print_shown(shown: dict[str, Any]) -> None:
    if session().as_json:
        emit_json(shown)
        return
    emit("\n".join(shown["rows"]))
    working = f", {shown['working']}" if shown["working"] else ""
    say(f"mode {shown['mode']}, screen {shown['screen']}, focus {shown['focus'] or 'nowhere'}{working}")
    if shown["question"]:
        say("A question about something that cannot be undone waits for a person at the screen.")
