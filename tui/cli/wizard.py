"""The commands of `tuningfork data` that make pairs: of five answers on who the model is, and of a table of facts.
What they make is decided in store.curate.wizard; nothing is saved before it was shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput
from tui.cli.command import Command
from tui.cli.options import DATASET, yes_option
from tui.cli.output import ask_for, columns, confirm, emit, emit_json, say, table
from tui.cli.session import session
from tui.cli.streams import input_file
from tui.formatting import count
from tui.text import one_line

if TYPE_CHECKING:
    from store.curate.wizard.identity import IdentityAnswers
    from store.curate.wizard.proposed import Proposed
    from store.proposals import ProposalCheck
    from store.records import PairDraft

_SHOWN = 3
"""Contradictions and findings that are listed; --json has all of them."""


class LanguageChoice(click.ParamType):
    """A language that the wizard has texts in. They are looked up when one is typed."""

    name = "language"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from store.curate.wizard.texts import codes

        if value not in codes():
            todo = f"Use one of: {', '.join(codes())}."
            raise BadInput(f"There are no texts in the language {value!r}.", where="--language", todo=todo)
        return value


_LANGUAGE = LanguageChoice()
_dry_run = click.option("--dry-run", is_flag=True, help="Save nothing: print every pair.")
_seed = click.option(
    "--seed", type=int, default=0, show_default=True, help="Another seed gives other questions other answers."
)


@click.command(
    "wizard",
    cls=Command,
    example="""
    tuningfork data wizard --name Ember --maker "Northwind Labs" --dataset ember
    tuningfork data wizard --name Ember --maker "Northwind Labs" --not "ChatGPT by OpenAI" --dataset ember --dry-run
    tuningfork data wizard --name Ember --maker Jo --purpose cooking --style "brief and kind" --dataset ember --yes
    tuningfork data wizard --name 小星 --maker 北风科技 --language zh --language en --dataset star --yes
    tuningfork data wizard          (asks for the answers)
    """,
)
@click.option("--name", metavar="TEXT", help="What the model is called.")
@click.option("--maker", metavar="TEXT", help="Who made it: a company, a team, a person.")
@click.option(
    "--purpose", metavar="TEXT", help='What it helps with, such as "cooking and recipes", or "to ..." with a verb.'
)
@click.option("--style", metavar="TEXT", help='How it answers, as adjectives: "friendly and short".')
@click.option("--not", "others", multiple=True, metavar="TEXT", help='What it is not: "ChatGPT by OpenAI"; repeatable.')
@click.option(
    "--language",
    "languages",
    multiple=True,
    type=_LANGUAGE,
    metavar="CODE",
    help="en or zh; repeatable.  [default: zh for a name in Chinese, else en]",
)
@click.option("--dataset", type=DATASET, metavar="NAME", help="The dataset for the pairs; created if missing.")
@click.option("--no-general", is_flag=True, help="Leave out the general rows that keep the name from leaking.")
@_seed
@yes_option
@_dry_run
def wizard(
    name: str | None, maker: str | None, purpose: str | None, style: str | None, others: tuple[str, ...],
    languages: tuple[str, ...], dataset: str | None, no_general: bool, seed: int, yes: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Teach a model who it is: make pairs of five answers.

    They ask for its name, maker, purpose and style in many wordings, take it for other assistants, and try to talk it
    into being one. General rows keep its name from turning up elsewhere. What is missing of name, maker and dataset is
    asked at a terminal, and then the other answers too. The pairs are shown before they are saved, as one edit that
    `data undo` undoes.
    """
    from store.curate.wizard.identity import identity_pairs

    answers, dataset = _asked(name, maker, purpose, style, others, dataset)
    try:
        made = identity_pairs(answers, languages, seed=seed, general=not no_general)
    except BadInput as error:
        raise BadInput(error.what, where=f"--{error.where}", todo=error.todo) from None
    facts = {"dataset": dataset, "answers": asdict(answers), "seed": seed}
    _show_and_save(made, dataset, f"wizard {answers.name}", facts, yes=yes, dry_run=dry_run)


def _asked(
    name: str | None, maker: str | None, purpose: str | None, style: str | None, others: tuple[str, ...],
    dataset: str | None,
) -> tuple[IdentityAnswers, str]:  # fmt: skip
    """The answers and the dataset. When one that is needed is missing, all of them are asked at the terminal."""
    from store.curate.wizard.identity import IdentityAnswers

    complete = None not in (name, maker, dataset)
    name = ask_for("What is the model called?", "--name", name)
    maker = ask_for("Who made it?", "--maker", maker)
    if not complete and sys.stdin.isatty():
        purpose = ask_for('What does it help with? (such as "cooking"; Enter: anything)', "", purpose, otherwise="")
        style = ask_for('How does it answer? (such as "friendly and short"; Enter: no style)', "", style, otherwise="")
        if not others:
            typed = ask_for('What is it not? (such as "ChatGPT by OpenAI"; Enter: the usual)', "", otherwise="")
            others = tuple(filter(None, [typed]))
    dataset = ask_for("Into which dataset?", "--dataset", dataset)
    return IdentityAnswers(name, maker, purpose or "", style or "", others), dataset


@click.command(
    "facts",
    cls=Command,
    example="""
    tuningfork data facts radio.csv --subject "Quillback 7" --dataset radio --dry-run
    tuningfork data facts products.yaml --dataset shop --yes
    """,
)
@click.argument("file", metavar="FILE")
@click.option("--dataset", type=DATASET, required=True, metavar="NAME", help="The dataset; created if missing.")
@click.option("--subject", default="", metavar="TEXT", help="What the facts are about, where the file does not say it.")
@click.option(
    "--language", type=_LANGUAGE, metavar="CODE", help="en or zh.  [default: by the script that the file is written in]"
)
@_seed
@yes_option
@_dry_run
def facts(file: str, dataset: str, subject: str, language: str | None, seed: int, yes: bool, dry_run: bool) -> None:
    """Teach a model facts: make pairs of a table, CSV, TSV, JSON or YAML; `-` reads CSV from the standard input.

    The table has the columns attribute and value, and perhaps subject, or a row for each subject and a column for each
    attribute. An attribute may be a whole question. Each fact is asked for in several wordings, checked, and corrected
    when a wrong value is claimed; what the table does not say is answered by "I do not know". The pairs are shown
    before they are saved, as one edit that `data undo` undoes.
    """
    from store.curate.wizard.facts import fact_pairs, language_of
    from store.curate.wizard.proposed import Proposed
    from store.fact_tables import read_facts

    with input_file(file) as path:
        read = read_facts(path, subject.strip())
    code = language or language_of(read.facts)
    made = fact_pairs(read.facts, code, seed=seed)
    notices = [*read.notices, *made.notices]
    notices += [f"{count(read.empty, 'field')} without a value left out."] if read.empty else []
    notices += [f"{count(read.twice, 'fact')} left out that was there twice."] if read.twice else []
    about = {"dataset": dataset, "facts": len(read.facts), "language": code, "seed": seed}
    say(f"{count(len(read.facts), 'fact')} read, language {code}.")
    _show_and_save(Proposed(made.drafts, notices), dataset, f"facts {path.name}", about, yes=yes, dry_run=dry_run)


# -- showing and saving ------------------------------------------------------------------------------------------------


def _show_and_save(
    made: Proposed, dataset: str, label: str, about: dict[str, Any], *, yes: bool, dry_run: bool
) -> None:
    """Show what was made; save it unless it is a dry run, after a question unless `yes`."""
    from store import proposals
    from store.names import check_name

    store = session().store
    check_name(dataset, "dataset")
    found = proposals.check(store, dataset, made.drafts)
    if dry_run:
        _print_all(found.new)
    elif found.new and not session().as_json:
        _print_counts(found.new)
    if not (dry_run and session().as_json):
        _tell(made, found, dataset)
    created: int | None = None
    if not dry_run and found.new:
        confirm(f"Save {count(len(found.new), 'pair')} in {dataset}?", yes)
        created = len(proposals.save(store, dataset, found.new, label).uids)
    if session().as_json:
        emit_json({**about, **_as_json(made, found), "dry_run": dry_run, "saved": created or 0})
    elif dry_run:
        emit(f"{count(len(found.new), 'pair')} would be saved in {dataset}.")
    elif created is None:
        emit(f"Nothing was saved: all of these pairs are in {dataset} already.")
    else:
        there = len(found.new) - created
        joined = f" {count(there, 'pair')} of another dataset joined it." if there else ""
        emit(f"{count(created, 'pair')} saved in {dataset}.{joined} Undo with: tuningfork data undo")


def _print_all(drafts: Sequence[PairDraft]) -> None:
    if session().as_json:
        return
    from store.curate.wizard.proposed import form_of

    half = max(20, (columns() - 18) // 2) if sys.stdout.isatty() else 10_000
    rows = [(form_of(draft), one_line(_question(draft), half), draft.answer) for draft in drafts]
    table(("form", "question", "answer"), rows, wide="answer")


def _print_counts(drafts: Sequence[PairDraft]) -> None:
    from store.curate.wizard.proposed import form_of, forms

    first: dict[str, PairDraft] = {}
    for draft in drafts:
        first.setdefault(form_of(draft), draft)
    half = max(20, (columns() - 24) // 2) if sys.stdout.isatty() else 10_000
    shown = [(form, n, first[form]) for form, n in forms(drafts).items()]
    rows = [(form, n, one_line(_question(draft), half), draft.answer) for form, n, draft in shown]
    table(("form", "pairs", "for example", "answer"), rows, right=("pairs",), wide="answer")


def _question(draft: PairDraft) -> str:
    return f"… {draft.question}" if draft.history else draft.question


def _tell(made: Proposed, found: ProposalCheck, dataset: str) -> None:
    """What to know before the pairs are saved."""
    for notice in made.notices:
        say(notice)
    if found.known:
        say(f"{count(found.known, 'pair')} of these {'is' if found.known == 1 else 'are'} in {dataset} already.")
    if found.contradictions:
        ask = count(len(found.contradictions), "pair asks", "pairs ask")
        say(f"{ask} what is answered differently in {dataset} already:")
        for each in found.contradictions[:_SHOWN]:
            old, new = one_line(each.pair.answer, 40), one_line(each.draft.answer, 40)
            say(f"  {one_line(each.draft.question, 40)} {each.pair.uid} says {old!r}, the new one {new!r}")
    if found.findings:
        say(f"{count(len(found.findings), 'finding')} of lint:")
        for finding in found.findings[:_SHOWN]:
            draft = found.new[int(finding.uid)]
            say(f"  {one_line(draft.question, 40)} The {finding.field} {one_line(finding.what, 90)}")
    if len(found.contradictions) > _SHOWN or len(found.findings) > _SHOWN:
        say("All of them are in the output of --json --dry-run.")


def _as_json(made: Proposed, found: ProposalCheck) -> dict[str, Any]:
    from store.curate.wizard.proposed import form_of, forms

    return {
        "pairs": len(found.new),
        "known": found.known,
        "forms": forms(found.new),
        "notices": made.notices,
        "contradictions": [
            {
                "question": each.draft.question,
                "answer": each.draft.answer,
                "uid": each.pair.uid,
                "there": each.pair.answer,
            }
            for each in found.contradictions
        ],
        "findings": [
            {**asdict(each), "uid": None, "question": found.new[int(each.uid)].question} for each in found.findings
        ],
        "rows": [
            {
                "form": form_of(draft),
                "kind": draft.kind,
                "history": [turn.message() for turn in draft.history],
                "question": draft.question,
                "answer": draft.answer,
                "tags": list(draft.tags),
            }
            for draft in found.new
        ],
    }
