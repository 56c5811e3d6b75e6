"""The commands of `tuningfork data` that work on rows: find, show, add, edit, remove, mark, undo, redo.
What a pair may be is checked by the store; text for an editor is made and read here."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput, NotFound, UserError
from tui import pair_markdown
from tui.cli.command import Command
from tui.cli.options import DATASET, KINDS, SPLITS, STATUSES, yes_option
from tui.cli.output import columns, confirm, emit, emit_json, emit_json_list, fields, say, table
from tui.cli.selection import QUERY, chosen, named, queried, rows_chosen
from tui.cli.session import session
from tui.formatting import ago, count, edited, rows_of_preferences
from tui.pair_changes import pair_changes
from tui.worddiff import marked_text

if TYPE_CHECKING:
    from store.db import Store
    from store.records import Pair, PairDraft, PreferenceRow, Turn

_SHOWN = 50
_BATCH = 1_000
_TEXTS = ("system", "question", "answer")
_TURNS_TODO = 'Write a list of messages: [{"role": "user", "content": "Hi"}, …].'
_FORM = (
    "<!-- Write below the headings. A question is needed; a pair without an answer is a draft. Earlier turns\n"
    "     stand above the question, each under a line `# Turn: user`, `# Turn: assistant` or\n"
    "     `# Turn: assistant (not trained)`.\n"
    "     Save and leave the editor; leave it without a change to give up. -->\n\n"
)


def pair_json(pair: Pair) -> dict[str, Any]:
    """A pair as scripts see it: everything but the row's number in the database."""
    plain = {name: getattr(pair, name) for name in pair.__dataclass_fields__ if name != "id"}
    plain["history"] = [asdict(turn) for turn in pair.history]
    return plain


@click.command(
    "search",
    cls=Command,
    example="""
    tuningfork data search "refund policy" --dataset support
    tuningfork data search "refund -tag:old status:draft,ready changed<7d len>200"
    tuningfork data search "/colou?r/i" --json
    """,
)
@click.argument("text", default="", type=QUERY, metavar="[QUERY]")
@click.option("--dataset", type=DATASET, metavar="NAME", help="Only pairs of this dataset.")
@click.option("--status", type=STATUSES, help="Only pairs with this status.")
@click.option("--kind", type=KINDS, help="Only pairs of this kind.")
@click.option("--split", type=SPLITS, help="Only pairs in this split.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    help=f"Show at most this many; 0 shows all.  [default: {_SHOWN}; all with --json]",
)
def search(text: str, limit: int | None, **wanted: Any) -> None:
    """Find pairs, newest first. Every word must begin a word of the question, answer, system text or earlier turns.

    "Quoted words" must stand side by side, signs match as typed (C++, ==, 👍), and text of languages that write no
    spaces between words is found anywhere. -word finds the pairs without it, /colou?r/ is a regular expression and
    /colou?r/i one that ignores case.

    Filters: kind:identity, status:draft,ready, dataset:NAME, split:val, tag:NAME, has:system (or history, answer, tag,
    dataset, preference, feedback), source:FILE, dup:exact, dup:conflict, uid:06f3, len>200 (characters of question and
    answer), qlen>100 and alen<20 (of one of them), lang:en, form:denial (a question form of identity pairs),
    asks:"what is" and says:"i am" (how question and answer begin), changed<7d (less than 7 days ago; m, h, d, w) and
    created>2026-01-31.
    A filter with - before it finds the pairs that it does not match; in quotes all of this is text.
    """
    from store import preference_rows, query
    from store.search import page

    store, as_json = session().store, session().as_json
    if limit is None:
        limit = 0 if as_json else _SHOWN
    ids = query.search_ids(store, text, **wanted)
    shown = ids[:limit] if limit else ids
    if as_json:
        pages = (page(store, shown[n : n + _BATCH]) for n in range(0, len(shown), _BATCH))
        emit_json_list(pair_json(pair) for found in pages for pair in found)
        return
    found = page(store, shown)
    plain = query.words(text) if text and all(not term.name for term in query.parse(text)) else ""
    judged = preference_rows.search(store, plain, dataset=wanted["dataset"], split=wanted["split"]) if plain else []
    if judged:
        listing = f"tuningfork data preferences {shlex.quote(text)}"
        say(f"{rows_of_preferences(len(judged))} also found; list them with: {listing}")
    if not found:
        say("No pair matches.")
        return
    half = max(20, (columns() - 34) // 2) if sys.stdout.isatty() else 10_000
    rows = [(p.uid, p.kind, p.status, p.question[:half], p.answer) for p in found]
    table(("uid", "kind", "status", "question", "answer"), rows, wide="answer")
    if len(ids) > len(found):
        say(f"{len(found)} of {count(len(ids), 'pair')}; --limit 0 shows all.")


@click.command("show", cls=Command, example="tuningfork data show 06f3 --history")
@click.argument("uid")
@click.option("--history", is_flag=True, help="Every revision, oldest first, and what each one changed.")
def show(uid: str, history: bool) -> None:
    """Show a pair, a preference or feedback. UID may be shortened to four characters or more."""
    from store import pairs
    from store.records import PreferenceRow

    store = session().store
    if history:
        states = pairs.revisions(store, pairs.get(store, uid, deleted=True).uid)
        if session().as_json:
            emit_json([pair_json(state) for state in states])
            return
        before = None
        for state in states:
            emit(f"revision {state.revision}, {_time(state.updated_at)}{', deleted' if state.deleted_at else ''}")
            _print(state) if before is None else _print_changes(before, state)
            emit()
            before = state
        return
    row = _row(store, uid)
    if isinstance(row, PreferenceRow):
        _show_preference_row(row)
    elif session().as_json:
        emit_json(pair_json(row))
    else:
        _print(row)


def _row(store: Store, uid: str) -> Pair | PreferenceRow:
    """The pair, preference or feedback with this uid or beginning of one. NotFound when there is none, or several."""
    from store import pairs, preference_rows

    found: list[Pair | PreferenceRow] = [*pairs.begin_with(store, uid), *preference_rows.begin_with(store, uid)]
    exact = [row for row in found if row.uid == uid]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if found:
        some = ", ".join(row.uid for row in found)
        raise NotFound(f"Several rows begin with {uid!r}.", todo=f"Write more of it: {some} …")
    raise NotFound(
        f"There is no pair, preference or feedback {uid!r}.",
        todo="List them with: tuningfork data search, tuningfork data preferences",
    )


def _show_preference_row(row: PreferenceRow) -> None:
    if session().as_json:
        emit_json(asdict(row))
        return
    where: list[tuple[str, Any]] = [
        ("uid", row.uid),
        ("kind", row.kind),
        ("dataset", row.dataset),
        ("split", row.split),
    ]
    where += [("source", ", ".join(f"{name} {value}" for name, value in row.source.items()))] if row.source else []
    turns = [(message["role"], message["content"]) for message in row.prompt]
    answers = [(name, text) for name, text in (("chosen", row.chosen), ("rejected", row.rejected)) if text is not None]
    fields([*where, *turns, *answers])


@click.command(
    "preferences",
    cls=Command,
    example="""
    tuningfork data preferences --dataset support
    tuningfork data preferences "refund" --kind feedback --json
    """,
)
@click.argument("text", default="")
@click.option("--dataset", type=DATASET, metavar="NAME", help="Only rows of this dataset.")
@click.option("--kind", type=click.Choice(("preference", "feedback")), help="Only rows of this kind.")
@click.option("--split", type=SPLITS, help="Only rows in this split.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    help=f"Show at most this many; 0 shows all.  [default: {_SHOWN}; all with --json]",
)
def preferences_(text: str, limit: int | None, **wanted: Any) -> None:
    """Find preferences (a chosen and a rejected answer) and feedback (a good or a bad answer), newest first.

    TEXT is searched as in `data search`. Show one with `data show`, remove it with `data rm`. Preferences that come
    from votes are listed by `votes list`.
    """
    from store import preference_rows

    found = preference_rows.search(session().store, text, **wanted)
    if session().as_json:
        emit_json([asdict(row) for row in (found[:limit] if limit else found)])
        return
    if not found:
        say("No preference or feedback matches.")
        return
    limit = _SHOWN if limit is None else limit
    shown = found[:limit] if limit else found
    third = max(16, (columns() - 40) // 3) if sys.stdout.isatty() else 10_000
    rows = [
        (row.uid, row.kind, row.prompt[-1]["content"][:third], (row.chosen or "")[:third], row.rejected or "")
        for row in shown
    ]
    table(("uid", "kind", "question", "good answer", "bad answer"), rows, wide="bad answer")
    if len(found) > len(shown):
        say(f"{len(shown)} of {rows_of_preferences(len(found))}; --limit 0 shows all.")


def _print(pair: Pair) -> None:
    rows: list[tuple[str, Any]] = [("uid", pair.uid), ("kind", pair.kind), ("status", pair.status)]
    if pair.tags:
        rows.append(("tags", ", ".join(pair.tags)))
    if pair.source:
        rows.append(("source", ", ".join(f"{name} {value}" for name, value in pair.source.items())))
    rows += [("system", pair.system)] if pair.system else []
    rows += [(turn.role, turn.content) for turn in pair.history]
    fields([*rows, ("question", pair.question), ("answer", pair.answer)])


def _print_changes(before: Pair, after: Pair) -> None:
    """The fields that a revision changed, [-old-] and {+new+} words marked."""
    fields((name, marked_text(old, new)) for name, old, new in pair_changes(before, after))


def _time(at_ms: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def _texts(command: Any) -> Any:
    """The options that carry a pair's own fields; `-` reads a text from stdin."""
    for option in reversed((
        click.option("--question", "-q", metavar="TEXT", help="The question; - reads it from stdin."),
        click.option("--answer", "-a", metavar="TEXT", help="The answer; - reads it from stdin."),
        click.option("--system", metavar="TEXT", help="The system text; - reads it from stdin."),
        click.option(
            "--turns",
            "history",
            metavar="JSON",
            help='Earlier turns, oldest first: [{"role": "user", "content": "Hi"}, {"role": "assistant", "content":'
            ' "Hello", "weight": 0}], where weight 0 is only read; [] for none; - reads them from stdin.',
        ),
        click.option("--kind", type=KINDS, help="What kind of pair it is."),
        click.option("--status", type=STATUSES, help="Its status; only ready pairs are trained on."),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; can be repeated."),
    )):  # fmt: skip
        command = option(command)
    return command


@click.command(
    "add",
    cls=Command,
    example="""
    tuningfork data add --dataset support -q "Where is my order?" -a "Under Orders, at the top."
    tuningfork data add --dataset support          (opens your editor)
    """,
)
@_texts
@click.option("--dataset", type=DATASET, metavar="NAME", help="Add the pair to this dataset; created if missing.")
@click.option("--split", type=SPLITS, default="train", show_default=True, help="Its split in the dataset.")
def add(dataset: str | None, split: Any, **given: Any) -> None:
    """Add a pair. Without --question it opens your editor; without an answer the pair is a draft."""
    from store import pairs
    from store.records import PairDraft

    texts = _given(given)
    if "question" not in texts:
        texts = {"question": ""} | texts
        texts |= _edited(PairDraft(**texts))
    if not texts.get("answer", "").strip():
        texts.setdefault("status", "draft")
    pair = pairs.create(session().store, PairDraft(**texts), dataset=dataset, split=split)
    if session().as_json:
        emit_json(pair_json(pair))
        return
    emit(f"Pair {pair.uid} added{f' to {dataset}' if dataset else ''}.")
    if pair.status == "draft":
        say("It is a draft: it is not trained on until its status is ready.")


@click.command(
    "edit",
    cls=Command,
    example="""
    tuningfork data edit 06f3 --answer "Under Orders, at the top." --status ready
    tuningfork data edit 06f3                      (opens your editor)
    tuningfork --json data show 06f3 | jq .history | tuningfork data edit 06f4 --turns -
    """,
)
@click.argument("uid")
@_texts
def edit(uid: str, **given: Any) -> None:
    """Change a pair. Without options it opens your editor. `data undo` undoes the change."""
    from store import pairs

    store = session().store
    pair = pairs.get(store, uid)
    changes = _given(given)
    if not changes:
        changes = _edited(pair)
    after = pairs.edit(store, pair.uid, expect_revision=pair.revision, **changes)
    if session().as_json:
        emit_json(pair_json(after))
    elif after.revision == pair.revision:
        emit(f"Pair {pair.uid} is as it was.")
    else:
        emit(f"Pair {pair.uid} is changed (revision {after.revision}). Undo it with: tuningfork data undo")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; a text of `-` is read from stdin, which can be given once."""
    found = {name: value for name, value in options.items() if value not in (None, ())}
    piped = [name for name in (*_TEXTS, "history") if found.get(name) == "-"]
    if len(piped) > 1:
        where = "--turns" if piped[1] == "history" else f"--{piped[1]}"
        raise BadInput("Only one text can come from stdin.", where=where, todo="Give the other as an option.")
    for name in piped:
        found[name] = sys.stdin.read().strip("\n")
    if "history" in found:
        found["history"] = _turns(found["history"])
    return found


def _turns(text: str) -> tuple[Turn, ...]:
    """Earlier turns as JSON, in any form that a file to import may have them in. BadInput names what is wrong."""
    import json

    from store.formats.conversation import turns_of
    from store.formats.fields import Fields, Wrong

    try:
        found, rest = json.loads(text), Fields({})
        turns = tuple(turns_of(rest, "turns", found)) if found != [] else ()
    except ValueError as error:
        raise BadInput(f"This is not JSON: {error}.", where="--turns", todo=_TURNS_TODO) from None
    except Wrong as error:
        raise BadInput(f"{error.field} {error.what}.", where="--turns", todo=_TURNS_TODO) from None
    if rest.unread():
        say(f"Not read: {', '.join(rest.unread())}.")
    return turns


def _edited(pair: Pair | PairDraft) -> dict[str, Any]:
    """Open $EDITOR on the texts and the earlier turns of a pair: those that were changed there. UserError when there is
    no terminal or nothing was changed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "There is nothing to write, and no terminal for an editor.", todo="Give --question and --answer."
        )
    before: dict[str, Any] = {name: getattr(pair, name) for name in (*pair_markdown.HEADINGS, "history")}
    texts = {name: before[name] for name in pair_markdown.HEADINGS}
    form = _FORM + pair_markdown.written(texts, pair.history)
    try:
        written = click.edit(form, extension=".md", require_save=False)
    except click.ClickException as error:
        raise UserError(error.format_message(), todo="Set EDITOR, or give --question and --answer.") from error
    if written is None or written == form:
        raise UserError("Nothing was written, so nothing was changed.")
    try:
        fields, turns = pair_markdown.read(written.removeprefix(_FORM), texts, pair.history)
    except BadInput as error:
        kept = session().store.home.cache / "pair.md"
        kept.write_text(written, "utf-8")
        raise BadInput(error.what, where="editor", todo=f"{error.todo} What you wrote is in {kept}.") from None
    return {name: value for name, value in (fields | {"history": turns}).items() if value != before[name]}


@click.command(
    "rm",
    cls=Command,
    example="""
    tuningfork data rm 06f3 06f4
    tuningfork data rm 06f3 --dataset support      (only out of this dataset)
    tuningfork data rm --where "status:rejected changed>30d"
    """,
)
@rows_chosen
@click.option("--dataset", type=DATASET, metavar="NAME", help="Take them out of this dataset; they stay in the store.")
@yes_option
def rm(uids: tuple[str, ...], where: str | None, dataset: str | None, yes: bool) -> None:
    """Delete pairs, preferences or feedback, or take pairs out of one dataset. `data undo` brings them back.

    With --where it asks first, unless --yes is given.
    """
    from store import datasets, edits, pairs, preference_rows
    from store.records import Pair, PreferenceRow

    store = session().store
    if where is not None:
        exact, judged = queried(uids, where), []
        what = (
            f"Take {count(len(exact), 'pair')} out of {dataset}?" if dataset else f"Delete {count(len(exact), 'pair')}?"
        )
        confirm(f"{what} It can be undone.", yes)
    else:
        rows = [_row(store, uid) for uid in named(uids)]
        exact = [row.uid for row in rows if isinstance(row, Pair)]
        judged = [row.uid for row in rows if isinstance(row, PreferenceRow)]
    if dataset and judged:
        raise BadInput(
            f"{judged[0]} is not a pair: it belongs to its dataset alone.",
            where="--dataset",
            todo="Leave out --dataset.",
        )
    if dataset:
        n = datasets.drop(store, dataset, exact)
    else:
        with edits.recording(store, "delete"):
            n = pairs.delete(store, exact) + preference_rows.remove(store, judged)
    if session().as_json:
        emit_json({"removed": n, "uids": [*exact, *judged], "dataset": dataset})
    elif dataset:
        emit(f"{count(n, 'pair')} taken out of {dataset}. The store keeps them; undo with: tuningfork data undo")
    else:
        emit(f"{count(n, 'row' if judged else 'pair')} deleted. Bring them back with: tuningfork data undo")


@click.command(
    "mark",
    cls=Command,
    example="""
    tuningfork data mark ready 06f3 06f4
    tuningfork data mark ready --where "status:draft tag:checked"
    """,
)
@click.argument("status", type=STATUSES)
@rows_chosen
def mark(status: Any, uids: tuple[str, ...], where: str | None) -> None:
    """Set the status of pairs. Only ready ones are trained on."""
    from store import pairs

    n = pairs.set_status(session().store, chosen(uids, where), status)
    if session().as_json:
        emit_json({"changed": n, "status": status})
    else:
        emit(f"{count(n, 'pair')} marked {status}.")


@click.command(
    "undo",
    cls=Command,
    example="""
    tuningfork data undo --list
    tuningfork data undo
    """,
)
@click.option("--list", "listed", is_flag=True, help="Change nothing: list what would be undone, newest first.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="With --list, show at most this many."
)
def undo(listed: bool, limit: int) -> None:
    """Undo the last change of the data: an import, an edit, a deletion, a split, a change of a dataset.

    Changes are undone one at a time, newest first. What cannot be undone is listed as such, and undo stops there.
    """
    from store import edits

    if listed:
        _list_undoable(limit)
    else:
        _go(edits.undo, "undo", "Undid")


def _list_undoable(limit: int) -> None:
    from store import edits

    found = edits.undoable(session().store, limit)
    if session().as_json:
        keys = ("id", "label", "pairs", "actor", "created_at")
        emit_json([{name: getattr(edit, name) for name in keys} | {"undoable": not edit.permanent} for edit in found])
        return
    if not found:
        say("There is nothing to undo.")
        return
    rows = [
        (ago(edit.created_at), edit.pairs, edit.label + (" (cannot be undone)" if edit.permanent else ""))
        for edit in found
    ]
    table(("when", "rows", "change"), rows, right=("rows",), wide="change")


@click.command("redo", cls=Command, example="tuningfork data redo")
def redo() -> None:
    """Redo what was undone last, unless something was changed since."""
    from store import edits

    _go(edits.redo, "redo", "Redid")


def _go(step: Any, word: str, past: str) -> None:
    done = step(session().store)
    if done is None:
        raise UserError(f"There is nothing to {word}.")
    if session().as_json:
        emit_json({"done": word, "label": done.label, "pairs": done.pairs, "edit": done.id})
    else:
        emit(f"{past}: {edited(done.label, done.pairs)}.")
