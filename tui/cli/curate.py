"""The commands of `tuningfork data` that check a dataset: lint, mute, dedupe.
The rules are in store.curate; `lint --fix` and `dedupe --delete` change pairs, each as one edit that can be undone."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from store.errors import BadInput, NotFound
from tui.bars import bar
from tui.cli.command import Command
from tui.cli.options import DATASET, dataset_option
from tui.cli.output import Progress, emit, emit_json, say, table
from tui.cli.session import session
from tui.formatting import ago, count, rows_of_preferences
from tui.text import one_line
from tui.worddiff import marked_text

if TYPE_CHECKING:
    from store.dedupe import Deduped
    from store.records import Pair

_LEVELS = ("error", "warning", "info")
_SHOWN = 50
_BAR_CELLS = 30
_ANY_SHARE = 0.0
"""What `--near` without a number is."""


class _Share(click.FloatRange):
    """A share of common text; also that of `--near` without a number, which no one can type."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value is _ANY_SHARE else super().convert(value, param, ctx)


_SHARE = _Share(0.3, 1.0)


@click.command(
    "lint",
    cls=Command,
    example="""
    tuningfork data lint --dataset support
    tuningfork data lint --dataset support --level error --json
    tuningfork data lint --rules
    tuningfork data lint --dataset support --rule space --rule mojibake --fix --dry-run
    """,
)
@click.option("--dataset", type=DATASET, metavar="NAME", help="The dataset. Needed unless --rules is given.")
@click.option("--level", type=click.Choice(_LEVELS), default="info", show_default=True, help="Lowest level to show.")
@click.option("--rule", "rules", multiple=True, metavar="RULE", help="Only what this rule finds; repeatable.")
@click.option("--fix", is_flag=True, help="Correct what the named rules found, as one edit that `data undo` undoes.")
@click.option("--dry-run", is_flag=True, help="With --fix, change nothing: show each text before and after.")
@click.option("--rules", "listed", is_flag=True, help="List the rules and what each of them finds.")
def lint(dataset: str | None, level: str, rules: tuple[str, ...], fix: bool, dry_run: bool, listed: bool) -> None:
    """Look for rows that would teach the wrong thing, in pairs, preferences and feedback.

    Finds chat markers, labels of prompts, broken text, invisible characters, fillers, refusals, other assistants'
    names, loops, keys and personal data, answers in another language; and between rows: duplicates, questions that are
    answered in two ways, and questions that are in train and in val or test. `data mute` silences a rule.
    """
    from store import datasets, problems

    if listed:
        _list_rules()
        return
    if dataset is None:
        raise BadInput(
            "No dataset was named.", where="--dataset", todo="Add --dataset NAME, or list the rules: --rules"
        )
    if dry_run and not fix:
        raise BadInput("--dry-run has no effect without --fix.", where="--dry-run", todo="Add --fix.")
    if fix:
        _fix(dataset, rules, dry_run)
        return
    total = datasets.get(session().store, dataset).pairs
    with Progress("Checking pair", total) as progress:
        done = problems.find(session().store, dataset, rules, on_progress=progress.update)
    found = [finding for finding in done.findings if _LEVELS.index(finding.level) <= _LEVELS.index(level)]
    counts: Counter[str] = Counter(finding.level for finding in found)
    if session().as_json:
        totals = {f"{name}s": counts[name] for name in _LEVELS}
        rows = {"pairs": done.pairs, "preferences": done.preferences, "muted": done.muted}
        emit_json({"dataset": dataset, **rows, **totals, "findings": [asdict(f) for f in found]})
        return
    looked_at = count(done.pairs, "pair") + (
        f" and {rows_of_preferences(done.preferences)}" if done.preferences else ""
    )
    if found:
        table(
            ("uid", "level", "rule", "what"),
            ((f.uid, f.level, f.code, f"the {f.field} {f.what}") for f in found),
            wide="what",
        )
        said = ", ".join(f"{counts[name]} {name}" for name in _LEVELS if counts[name])
        say(f"Found in {looked_at}: {said}.")
        say("Correct a pair with: tuningfork data edit UID. Remove a row with: tuningfork data rm UID")
        if able := sorted({finding.code for finding in found if finding.fixable}):
            say(f"To see what a rule can correct ({', '.join(able)}), add: --rule RULE --fix --dry-run")
    else:
        emit(f"No problems found in {looked_at}.")
    if done.muted:
        say(f"{count(done.muted, 'finding')} of muted rules left out. List them with: tuningfork data mute --list")


def _list_rules() -> None:
    from store import problems
    from store.curate.lint import RULES

    rows = [(rule.name, rule.level, rule.fix is not None, rule.about) for rule in RULES.values()]
    rows += [(name, level, False, about) for name, (level, about) in problems.BETWEEN_ROWS.items()]
    if session().as_json:
        emit_json([dict(zip(("rule", "level", "fixable", "finds"), row, strict=True)) for row in rows])
        return
    shown = [(name, level, "yes" if fixes else "", about) for name, level, fixes, about in rows]
    table(("rule", "level", "fix", "finds"), shown, wide="finds")


def _fix(dataset: str, rules: tuple[str, ...], dry_run: bool) -> None:
    from store import problems

    done = (problems.preview_fixes if dry_run else problems.fix)(session().store, dataset, rules)
    if session().as_json:
        changes, left = [asdict(each) for each in done.changes], [asdict(finding) for finding in done.left]
        facts = {"dataset": dataset, "rules": rules, "dry_run": dry_run, "pairs": done.pairs}
        emit_json({**facts, "changes": changes, "left": left})
        return
    for each in done.changes[:_SHOWN]:
        emit(f"{each.uid} {each.field}: {one_line(marked_text(each.before, each.after), 400)}")
    if len(done.changes) > _SHOWN:
        say(f"… and {len(done.changes) - _SHOWN:,} more.")
    would = "would be " if dry_run else ""
    emit(f"{count(len(done.changes), 'text')} in {count(done.pairs, 'pair')} {would}corrected.")
    if done.left:
        stay = count(len(done.left), "finding")
        say(f"{stay} cannot be corrected by a rule. List with: {_lint_again(dataset, rules)}")
    if done.pairs and not dry_run:
        say("Undo with: tuningfork data undo")


def _lint_again(dataset: str, rules: tuple[str, ...]) -> str:
    named = [word for rule in rules for word in ("--rule", rule)]
    return shlex.join(["tuningfork", "data", "lint", "--dataset", dataset, *named])


@click.command(
    "mute",
    cls=Command,
    example="""
    tuningfork data mute email --dataset support
    tuningfork data mute refusal --uid 06f3
    tuningfork data mute duplicate --uid 06f3 --uid 07a1
    tuningfork data mute email --dataset support --undo
    tuningfork data mute --list
    """,
)
@click.argument("rule", required=False)
@click.option("--dataset", type=DATASET, metavar="NAME", help="Only in this dataset.")
@click.option("--uid", "uids", multiple=True, metavar="UID", help="Only of this row; for duplicate, name two pairs.")
@click.option("--undo", "undone", is_flag=True, help="Report it again.")
@click.option("--list", "listed", is_flag=True, help="Change nothing: list what is muted.")
def mute(rule: str | None, dataset: str | None, uids: tuple[str, ...], undone: bool, listed: bool) -> None:
    """Stop reporting what a rule of `data lint` finds: everywhere, in one dataset, or of one row.

    The rule duplicate takes two pairs or more that look alike and are all wanted: `data dedupe` then keeps them.
    """
    from store import problems, review

    store = session().store
    if listed:
        _list_muted()
        return
    if rule is None:
        raise BadInput("No rule was named.", where="RULE", todo="List the rules with: tuningfork data lint --rules")
    problems.check_rules([rule])
    if dataset and uids:
        raise BadInput("--dataset and --uid were both given.", where="--uid", todo="Name a dataset or a row.")
    full = [_full_uid(uid) for uid in uids]
    if rule == "duplicate" and full:
        changed = (review.forget_apart if undone else review.keep_apart)(store, full)
        said = "are duplicates again" if undone else "are no duplicates of each other"
        _muted({"rule": rule, "uids": full, "undone": undone, "changed": changed}, f"The {len(full)} pairs {said}.")
        return
    if len(full) > 1:
        raise BadInput("Several rows were named.", where="--uid", todo="Mute the rule of one row at a time.")
    uid = full[0] if full else None
    done = (review.unmute if undone else review.mute)(store, rule, dataset=dataset, uid=uid)
    if undone and not done:
        raise NotFound(
            f"The rule {rule} is not muted there.", todo="List what is muted with: tuningfork data mute --list"
        )
    place = f" in {dataset}" if dataset else f" of {uid}" if uid else ""
    said = "reported again" if undone else "not reported any more"
    facts = {"rule": rule, "dataset": dataset, "uid": uid, "undone": undone, "changed": int(done)}
    _muted(facts, f"What {rule} finds{place} is {said}.")


def _muted(facts: dict[str, Any], sentence: str) -> None:
    if session().as_json:
        emit_json(facts)
    else:
        emit(sentence)


def _full_uid(uid: str) -> str:
    from store import pairs, preference_rows

    found = preference_rows.begin_with(session().store, uid)
    return found[0].uid if len(found) == 1 else pairs.get(session().store, uid).uid


def _list_muted() -> None:
    from store import review

    rules, couples = review.muted(session().store), sorted(review.apart(session().store))
    if session().as_json:
        emit_json({"muted": [asdict(each) for each in rules], "not_duplicates": [list(each) for each in couples]})
        return
    rows = [(each.rule, each.uid or each.dataset or "everywhere", ago(each.created_at)) for each in rules]
    rows += [("duplicate", " and ".join(couple), "") for couple in couples]
    if rows:
        table(("rule", "where", "when"), rows, wide="where")
    else:
        say("No rule is muted.")


@click.command(
    "dedupe",
    cls=Command,
    example="""
    tuningfork data dedupe --dataset support
    tuningfork data dedupe --dataset support --near
    tuningfork data dedupe --dataset support --near 0.8 --delete
    """,
)
@dataset_option
@click.option(
    "--near",
    type=_SHARE,
    is_flag=False,
    flag_value=_ANY_SHARE,
    metavar="[SHARE]",
    help="Also find pairs that share this much of their text, such as 0.8, and the same numbers and signs."
    " Without a number, only show how many each share would find.",
)
@click.option("--histogram", is_flag=True, help="The same as --near without a number.")
@click.option("--delete", is_flag=True, help="Keep the best pair of each group and delete the others.")
@click.option("--everywhere", is_flag=True, help="With --delete, also delete pairs that are in other datasets too.")
def dedupe(dataset: str, near: float | None, histogram: bool, delete: bool, everywhere: bool) -> None:
    """Find pairs with the same text, apart from case, spaces and punctuation after words.

    The pair that is kept is a ready one rather than a draft, in train rather than val or test, and the oldest. Pairs
    that are in other datasets too are only taken out of this one. `data undo` brings all of them back.
    """
    from store import dedupe as duplicates

    if everywhere and not delete:
        raise BadInput("--everywhere has no effect without --delete.", where="--everywhere", todo="Add --delete.")
    store = session().store
    if histogram or near == _ANY_SHARE:
        if delete:
            raise BadInput("No share was chosen.", where="--near", todo="Add one, such as: --near 0.8 --delete")
        if near:
            raise BadInput("--histogram and a share were both given.", where="--near", todo="Leave one of them out.")
        _histogram(dataset)
        return
    groups = duplicates.find(store, dataset, near)
    found = sum(len(group.others) for group in groups)
    shared = {uid: names for group in groups for uid, names in group.elsewhere.items()}
    done = duplicates.remove(store, dataset, groups, everywhere=everywhere) if delete else None
    if session().as_json:
        emit_json({
            "dataset": dataset,
            "groups": [[group.kept.uid, *(pair.uid for pair in group.others)] for group in groups],
            "duplicates": found,
            "deleted": done.deleted if done else 0,
            "taken_out": done.taken_out if done else 0,
            "in_other_datasets": shared,
        })  # fmt: skip
        return
    if groups:
        rows = [
            (g.kept.uid, len(g.others), " ".join(pair.uid for pair in g.others[:3]), g.kept.question) for g in groups
        ]
        table(("kept", "more", "same as it", "question"), rows, right=("more",), wide="question")
    emit(f"{count(found, 'duplicate')} among {count(len(_pairs(dataset)) + (_gone(done)), 'pair')}.")
    if shared and not everywhere:
        names = ", ".join(sorted({name for found_in in shared.values() for name in found_in}))
        what = "were only taken out of this one" if done else "will only be taken out of this one"
        say(f"{count(len(shared), 'duplicate')} in other datasets too ({names}) {what}; --everywhere deletes them.")
    if done and _gone(done):
        emit(f"{count(done.deleted, 'pair')} deleted. Bring them back with: tuningfork data undo")
    elif found:
        say("To delete the others of each group, add --delete.")


def _histogram(dataset: str) -> None:
    """How many groups and pairs each share would find, as a bar of its pairs."""
    from store import thresholds

    counts = thresholds.histogram(session().store, dataset)
    if session().as_json:
        rows = [{**asdict(each), "duplicates": each.duplicates} for each in counts]
        emit_json({"dataset": dataset, "thresholds": rows})
        return
    most = max(1, *(each.pairs for each in counts))
    table(
        ("share", "groups", "pairs", ""),
        ((f"{each.threshold:.2f}", each.groups, each.pairs, bar(each.pairs / most, _BAR_CELLS)) for each in counts),
        right=("groups", "pairs"),
    )
    say(
        "List the groups of a share with: "
        + shlex.join(["tuningfork", "data", "dedupe", "--dataset", dataset, "--near", "0.8"])
    )


def _gone(done: Deduped | None) -> int:
    return done.deleted + done.taken_out if done else 0


def _pairs(dataset: str) -> list[Pair]:
    """The dataset's pairs that are not rejected, oldest first."""
    from store import datasets

    found = datasets.members(session().store, dataset, status=None)
    return [pair for pair, _ in found if pair.status != "rejected"]
