"""`tuningfork push`: an export to a repository on the Hugging Face hub, after showing what leaves this machine.
Sending is engine.export.hub_upload's; nothing is sent before you, or `--yes`, agreed."""

from __future__ import annotations

import click

from tui.cli.command import Command
from tui.cli.output import confirm, emit, emit_json, say, table
from tui.cli.session import session
from tui.export_summary import message, sending
from tui.formatting import count, size


@click.command(
    "push",
    cls=Command,
    example="""
    tuningfork push 3 --to northwind/ember-1-gguf --private
    tuningfork push 3 --to northwind/ember-1-gguf --dry-run
    """,
)
@click.argument("what", metavar="ID|PATH")
@click.option("--to", "repo", required=True, metavar="OWNER/NAME", help="The repository; created unless it exists.")
@click.option("--private", is_flag=True, help="Create it as a private one.")
@click.option("--dry-run", is_flag=True, help="Only list what would be uploaded.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
def push(what: str, repo: str, private: bool, dry_run: bool, yes: bool) -> None:
    """Upload an export to the Hugging Face hub. Every file is listed before it is uploaded.

    An export that is not finished, or that failed its verification, is refused.
    """
    from engine.export import hub_upload

    store = session().store
    hub_upload.check_repo(repo)
    made = hub_upload.find(store, what)
    files = hub_upload.outgoing(store, made)
    total = sum(file.bytes for file in files)
    listed = [{"name": file.name, "path": str(file.path), "bytes": file.bytes} for file in files]
    whole = {"export": made.id, "repo": repo, "private": private, "bytes": total, "files": listed}
    if not session().as_json:
        table(("file", "size"), [(file.name, size(file.bytes)) for file in files], right=("size",), wide="file")
    if dry_run:
        say(f"{count(len(files), 'file')}, {size(total)}, would go to huggingface.co/{repo}. Nothing was sent.")
        if session().as_json:
            emit_json(whole | {"url": None})
        return
    confirm(sending(len(files), total, repo, private), yes)
    session().on_interrupt = "What was sent before may be there; nothing here has changed."
    say(f"Sending {size(total)} to huggingface.co/{repo} …")
    url = hub_upload.push(files, repo, private=private, message=message(made))
    if session().as_json:
        emit_json(whole | {"url": url})
    else:
        emit(url)
