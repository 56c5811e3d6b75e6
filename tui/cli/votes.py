"""`tuningfork votes`: what was voted in Compare, who wins, and the preferences that follow, as a file.
The store counts votes, engine.evaluation.ranking and .pairwise compute the figures; nothing is computed here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput, NotFound, UserError
from tui.cli.asking import announce, connect, warm
from tui.cli.command import Group
from tui.cli.options import DATASET, MODEL
from tui.cli.output import Progress, emit, emit_json, fields, say, table
from tui.cli.session import session
from tui.cli.streams import STANDARD, output_file
from tui.formatting import ago, count, of_them
from tui.text import one_line

if TYPE_CHECKING:
    from engine.evaluation.next_prompts import ProposedPrompt
    from engine.evaluation.pairwise import JudgeAgreement, JudgedVote
    from engine.evaluation.ranking import Rate
    from store.records import Vote

_SHOWN = 50
_NONE = "There is no vote yet. Open the app (tuningfork), ask in Compare, and vote: 1 left, 2 right, 3 tie, 4 both bad."


@click.group(
    cls=Group,
    example="""
    tuningfork votes list
    tuningfork votes rank
    """,
)
def votes() -> None:
    """Votes cast in Compare: list them, rank the models, write preferences, undo."""


@votes.command("list", example="tuningfork votes list --limit 10")
@click.option(
    "--limit", type=click.IntRange(0), help=f"How many votes to list, 0 for all.  [default: {_SHOWN}; all with --json]"
)
def list_(limit: int | None) -> None:
    """List the votes, newest first. With --json each is complete: prompt, both answers, sampling.

    A blind vote whose answers said the name or the maker of either model is unblind; with --json, `unblind` has the
    names.
    """
    from store import votes as kept

    if limit is None:
        limit = 0 if session().as_json else _SHOWN
    every = kept.all_votes(session().store)
    found = every[:limit] if limit else every
    if session().as_json:
        emit_json(found)
        return
    if not found:
        say(_NONE)
        return
    table(
        ("id", "when", "a", "b", "choice", "blind", "prompt"),
        [_row(vote) for vote in found],
        right=("id",),
        wide="prompt",
    )
    if len(every) > len(found):
        say(f"{len(found)} of {count(len(every), 'vote')}; --limit 0 shows all.")


def _row(v: Vote) -> tuple[object, ...]:
    blind = "unblind" if v.unblind else v.blind
    return v.id, ago(v.created_at), v.a_model, v.b_model, v.choice.replace("_", " "), blind, _asked(v)


def _asked(vote: Vote) -> str:
    """The beginning of what was asked, on one line."""
    return one_line(next((m["content"] for m in reversed(vote.prompt) if m["role"] == "user"), ""), 80)


@votes.command(
    "rank",
    example="""
    tuningfork votes rank --json
    tuningfork votes rank --blind-only
    """,
)
@click.option("--blind-only", is_flag=True, help="Count only votes that were cast blind and stayed so.")
def rank(blind_only: bool) -> None:
    """Show which model wins against which, and how certain that is.

    For each two models: the share of the votes with a winner that went to the one ahead, its 95% interval, and p, the
    chance of a split at least this uneven if both were equally good. Three models or more are ranked (Bradley-Terry).

    "Enough votes" and how many more it takes hold however often you look and whenever you stop: two equally good models
    are ever called different in at most one case of twenty. A model "beats" another only then.

    A blind vote is unblind when an answer said the name or the maker of either model: what you think of the model may
    then be in the vote. Such votes count, and are told; --blind-only leaves them out, and those that were never blind.
    """
    from engine.evaluation.ranking import leader, ranking, rate
    from store import votes as kept

    counted = kept.counts(session().store, blind_only=blind_only)
    rates, ranked = [rate(each, of=leader(each)) for each in counted], ranking(counted)
    if len(ranked) < 3:
        ranked = []
    if session().as_json:
        emit_json({"pairs": [_plain(each) for each in rates], "ranking": ranked})
        return
    if not rates:
        say("No vote was cast blind and stayed so." if blind_only and kept.counts(session().store) else _NONE)
        return
    fields((_who(each), _figures(each)) for each in rates)
    if ranked:
        emit("\nRanking (Bradley-Terry)")
        rows = [(n, each.model, f"{each.strength:+.2f}", f"{each.votes:.0f}") for n, each in enumerate(ranked, 1)]
        table(("", "model", "strength", "votes"), rows, right=("strength", "votes"), wide="model")


def _plain(each: Rate) -> dict[str, Any]:
    return {
        "model": each.b_model, "against": each.a_model, "winner": each.b_model if each.wins > each.losses else None,
        "wins": each.wins, "losses": each.losses, "ties": each.ties, "both_bad": each.both_bad,
        "blind": each.blind, "unblind": each.unblind,
        "rate": each.rate, "low": each.low, "high": each.high, "p": each.p, "state": each.standing.state,
        "more": each.standing.more, "low_at_any_time": each.standing.low, "high_at_any_time": each.standing.high,
    }  # fmt: skip


def _who(each: Rate) -> str:
    """`run:ember beats smollm2-135m`; one that may be ahead by chance only leads."""
    verb = "against" if not each.decided else "even with" if each.wins == each.losses else "leads"
    if each.standing.state == "better":
        verb = "beats"
    return one_line(f"{each.b_model} {verb} {each.a_model}", 200)


def _figures(each: Rate) -> str:
    """`75% (41% to 93%) of 8, p 0.29, could be chance, about 29 more votes needed, 1 tie, 2 both bad`"""
    said = ["no winner yet"]
    if each.rate is not None:
        said = [f"{each.rate:.0%} ({each.low:.0%} to {each.high:.0%}) of {each.decided}", f"p {each.p:.2g}"]
        said += each.standing.words
    said += [count(each.ties, "tie")] if each.ties else []
    said += [f"{each.both_bad} both bad"] if each.both_bad else []
    said += [of_them(each.votes, "vote", each.unblind, "unblind")] if each.unblind else []
    return ", ".join(said)


@votes.command(
    "judge",
    example="""
    tuningfork votes judge --judge-model smollm2-135m
    tuningfork votes judge --judge-model http://127.0.0.1:8080/v1#qwen3 --limit 50 --json
    """,
)
@click.option("--judge-model", "model", type=MODEL, required=True, metavar="REF", help="The model that judges.")
@click.option("--limit", type=click.IntRange(0), default=0, metavar="N", help="Only the N newest votes, 0 for all.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before texts leave this machine.")
def judge(model: str, limit: int, yes: bool) -> None:
    """Try a model as the judge of your votes: does it choose the answers that you chose?

    It compares both answers of each vote twice, in both orders. An answer wins when it is preferred in both; else it is
    a tie, as is your "both bad". A reply that cannot be read leaves the vote not judged.

    Agreement is the share of votes with the same verdict, kappa (Cohen) what of it is beyond chance: 1 always, 0 no
    more than chance. A judge whose kappa has an interval that is not above 0 is called unusable. Nothing is kept.
    """
    from dataclasses import asdict

    from engine.evaluation import pairwise
    from engine.models import refs
    from store import votes as kept

    found = kept.all_votes(session().store)
    found = found[:limit] if limit else found
    if not found:
        raise UserError("There is no vote to hold a judge against.", todo=_NONE.removeprefix("There is no vote yet. "))
    refs.resolve(session().store, model)
    announce(f"The texts of {count(len(found), 'vote')}", [model], yes)
    items = asyncio.run(_judged(model, found))
    result = pairwise.agreement(items)
    if session().as_json:
        rows = [{**asdict(item), "verdict": item.verdict} for item in items]
        emit_json({"judge": model, "usable": result.usable, **asdict(result), "votes": rows})
    else:
        _print_agreement(model, result)


async def _judged(model: str, found: list[Vote]) -> list[JudgedVote]:
    from engine.evaluation import pairwise

    client = await connect(session().home)
    try:
        await warm(client, model)
        with Progress("Judging", len(found), "votes") as progress:
            return await pairwise.judge(client, model, found, progress.update)
    finally:
        await client.close()


def _print_agreement(model: str, result: JudgeAgreement) -> None:
    long = f" ({result.too_long} too long for its context)" if result.too_long else ""
    emit(f"{one_line(model, 200)}: {count(result.judged, 'vote')} judged, {result.not_judged} not judged{long}")
    rows = []
    if result.judged:
        share, of = result.agreed / result.judged, f"{result.agreed} of {result.judged} votes"
        rows.append(("agreement", f"{share:.0%} ({result.low:.0%} to {result.high:.0%}), {of}"))
    found = result.kappa
    known = "not defined: only one verdict was given"
    if found.value is not None:
        known = f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
    rows.append(("kappa", known if result.judged else "not known"))
    if result.chosen:
        rows.append(("chose the first", f"{result.first / result.chosen:.0%} of {result.chosen} choices"))
    rows.append(("flipped with the order", count(result.flipped, "vote")))
    fields(rows)
    if not result.usable:
        emit("Unusable: it was not shown to agree with you more than chance does.")


@votes.command(
    "write",
    example="""
    tuningfork votes write preferences.jsonl
    tuningfork votes write preferences.json --form sharegpt --overwrite
    """,
)
@click.argument("file", metavar="FILE")
@click.option(
    "--form", type=click.Choice(["trl", "sharegpt"]), default="trl", show_default=True, help="The format of the file."
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def write(file: str, form: str, overwrite: bool) -> None:
    """Write every preference to a file, to train on. They come from votes with a winner and from imports.

    A FILE ending in .jsonl, and `-` (standard output), get one line per preference; any other a JSON list.
    """
    from store import votes as kept
    from store.importing import export_preferences

    if not kept.preferences(session().store):
        raise UserError(
            "No vote has a winner yet, so there is no preference to write.",
            todo="Vote for a better answer in Compare, or import preferences: tuningfork data import FILE "
            "--format preference --dataset NAME",
        )
    with output_file(file, ".jsonl") as path:
        written = export_preferences(session().store, path, form=form, overwrite=overwrite)
    if file == STANDARD:
        say(f"{count(written, 'preference')} written.")
    elif session().as_json:
        emit_json({"form": form, "path": str(path.absolute()), "rows": written})
    else:
        emit(f"{count(written, 'preference')} written to {path}.")


@votes.command(
    "collect",
    example="""
    tuningfork votes collect --dataset votes
    tuningfork train --dataset votes --objective dpo --on run:ember-1
    """,
)
@click.option("--dataset", type=DATASET, default="votes", show_default=True, metavar="NAME", help="Where they go.")
@click.option(
    "--as", "kind", type=click.Choice(["preference", "feedback"]), default="preference", show_default=True,
    help="preference: the winner over the loser, for dpo and reward. feedback: good and bad answers, for kto.",
)  # fmt: skip
def collect(dataset: str, kind: Any) -> None:
    """Put what you voted into a dataset, to train on it. Votes that you undid since are taken out again."""
    from store import votes as kept

    found = kept.collect(session().store, dataset, kind)
    if session().as_json:
        emit_json(found)
        return
    rows = count(found.rows, "preference" if kind == "preference" else "judged answer")
    gone = f", {found.removed} of undone votes removed" if found.removed else ""
    empty = f", {found.left_out} left out with empty or equal answers" if found.left_out else ""
    emit(f"{rows} in {found.dataset}: {found.new} new, {found.known} known{gone}{empty}.")
    objective = "dpo" if kind == "preference" else "kto"
    say(f"Train on them: tuningfork train --dataset {dataset} --objective {objective}{session().flags()}")


@votes.command(
    "next",
    example="""
    tuningfork votes next --a smollm2-135m --b run:ember --prompts questions.txt
    tuningfork votes next --a smollm2-135m --b run:ember --dataset mine --limit 20 --json
    """,
)
@click.option("--a", type=MODEL, required=True, metavar="REF", help="One model.")
@click.option("--b", type=MODEL, required=True, metavar="REF", help="The other model.")
@click.option("--prompts", metavar="NAME|FILE", help="A saved set, or a file with one prompt per line or JSONL.")
@click.option("--dataset", type=DATASET, metavar="NAME", help="The questions of this dataset's test pairs.")
@click.option("--system", default="", help="The system text of prompts that have none of their own.")
@click.option(
    "--limit", type=click.IntRange(0), default=10, show_default=True, metavar="N", help="How many, 0 for all."
)
def next_(a: str, b: str, prompts: str | None, dataset: str | None, system: str, limit: int) -> None:
    """Propose what to vote on next: prompts without a vote between two models, the most different answers first.

    No model is asked. Answers that are in the store already are compared, of conversations in Compare and of
    evaluations, the newest of each model: the difference is the share of words that they do not have in common.
    Prompts without answers of both come after those, and prompts with the same answer from both come last.
    """
    from dataclasses import asdict

    from engine.evaluation import next_prompts
    from tui.cli.asking import read_prompts

    if (prompts is None) == (dataset is None):
        raise BadInput("Give either --prompts or --dataset.", todo="Name a set, a file, or a dataset with test pairs.")
    store, left_out = session().store, 0
    if dataset is not None:
        asked, left_out = next_prompts.dataset_questions(store, dataset, system)
        if not asked:
            todo = f"Split it: tuningfork data split --dataset {dataset} --test 0.1{session().flags()}"
            raise UserError(f"Dataset {dataset} has no test pair whose question is asked alone.", todo=todo)
    else:
        asked = list(dict.fromkeys(read_prompts(store, prompts or "", system)))
    found = next_prompts.proposed(store, asked, a, b)
    listed = found[:limit] if limit else found
    known = sum(each.difference is not None for each in found)
    if session().as_json:
        rows = [{**asdict(each.prompt), "place": each.place, "difference": each.difference} for each in listed]
        emit_json({
            "a": a, "b": b, "prompts": rows, "of": len(asked), "voted": len(asked) - len(found), "known": known,
            "with_turns": left_out,
        })  # fmt: skip
        return
    if listed:
        lines = [(each.place, _difference(each), one_line(each.prompt.text, 80)) for each in listed]
        table(("", "differ by", "prompt"), lines, right=("", "differ by"), wide="prompt")
    voted = (
        f"{len(asked) - len(found)} of {count(len(asked), 'prompt')} voted on, the answers of {known} others compared"
    )
    say(f"{voted}{f', {left_out} with earlier turns left out' if left_out else ''}. Vote: A in Compare.")


def _difference(each: ProposedPrompt) -> str:
    return "not known" if each.difference is None else f"{each.difference:.0%}"


@votes.command("rm", example="tuningfork votes rm 3")
@click.argument("id", type=int)
def rm(id: int) -> None:
    """Undo a vote: it no longer counts, and gives no preference."""
    from store import votes as kept

    store = session().store
    vote = next((each for each in kept.all_votes(store) if each.id == id), None)
    if vote is None:
        raise NotFound(f"There is no vote {id}.", todo=f"See them: tuningfork votes list{session().flags()}")
    kept.remove(store, id)
    if session().as_json:
        emit_json({"removed": id, "vote": vote})
    else:
        emit(f"Undid vote {id}: {_said(vote)}, asked: {_asked(vote)}")


def _said(vote: Vote) -> str:
    a, b = (one_line(model, 80) for model in (vote.a_model, vote.b_model))
    return {"a": f"{a} over {b}", "b": f"{b} over {a}", "tie": f"a tie of {a} and {b}",
            "both_bad": f"{a} and {b} both bad"}[vote.choice]  # fmt: skip
