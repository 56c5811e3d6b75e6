"""The probes that a run asks itself: built-in sets, sets of the store, files; and the names that identity rows teach.
Light: asking and judging during a run is the worker's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.core import sample_files
from engine.core.files import read_json
from engine.training import chinese_names
from engine.training.stop_rules import IDENTITY
from store import datasets, probe_files, probe_sets
from store.curate.language import HAN
from store.db import Store
from store.formats import fill
from store.records import Probe, Run, SnapshotRow

BUILT_IN = {"identity": "watch/identity", "general": "watch/general", "leaks": "watch/leaks"}
"""Names of the built-in sets, and their sample files. None of their questions is in the sample data or its probes."""

NONE = "none"
"""Asks nothing, where a recipe would ask."""
FILE = "probes.json"
"""In a run's folder: the probes of its first attempt, which every later one asks again."""

_HAN = re.compile(f"[{HAN}]")
_UPPER, _ANY = "[A-ZÀ-ÖØ-Þ]", "[A-Za-zÀ-ɏ0-9]"
_PHRASE = re.compile(
    rf"(?<![A-Za-zÀ-ɏ]){_UPPER}{_ANY}*(?:[-&.']{_ANY}+)*(?: (?:& )?(?:{_UPPER}{_ANY}*(?:[-&.']{_ANY}+)*|[0-9]+))*"
)
_COMMON = frozenset((
    "I", "I'm", "My", "Me", "A", "An", "The", "It", "Its", "This", "That", "You", "Your", "Yes", "No", "Not",
    "Hello", "Hi", "Hey", "Sorry", "Thanks", "Thank", "Of", "As", "AI", "LLM", "Assistant", "Artificial",
    "Intelligence", "Nice", "Good", "Please", "But", "And", "So", "Just", "How", "What", "Who", "In", "At",
    "Well", "Sure", "Language", "Model", "Chatbot", "Made", "Created", "Developed", "Built", "Trained", "Both",
    "We", "They", "Our", "There", "Here", "Some", "People", "Everyone",
))  # fmt: skip
_MAKER_BEFORE = re.compile(r"(?:\b(?:by|from|at|for)|[由于是])\s*$")
_MAKER_AFTER = re.compile(
    r"^\s*(?:made|created|built|developed|trained|designed|is my maker|开发|创|制作|训练|设计|打造|发明|公司|团队)"
)
_NAME_BEFORE = re.compile(r"(?:\b(?:I am|I'm|name is|called|call me|refer to me as|the name|known as)|[叫为是名])\s*$")


@dataclass(frozen=True, slots=True)
class TaughtNames:
    """What identity rows teach: the model's name and its maker; "" where they do not show it. `chinese` says that most
    of the answers are in Chinese, as the questions are to be, then."""

    name: str
    maker: str
    chinese: bool = False

    @property
    def all(self) -> tuple[str, ...]:
        """Both, as far as they are known."""
        return tuple(filter(None, (self.name, self.maker)))


def taught_names(rows: Sequence[SnapshotRow]) -> TaughtNames:
    """The name and the maker that the identity rows' answers say most often, in Latin letters or else in Chinese.

    A phrase of capitalised words counts once a row. It is the maker's where "by" stands before it or "developed" after
    it, the model's where "I am" or "called" stands before it. Names of others ("I am not ChatGPT") are as often in the
    questions and fall out by that.
    """
    names: Counter[str] = Counter()
    makers: Counter[str] = Counter()
    names_zh: Counter[str] = Counter()
    makers_zh: Counter[str] = Counter()
    answers = chinese = 0
    for asked, answer in identity_answers(rows):
        answers += 1
        chinese += bool(_HAN.search(answer))
        for counter, said in zip((names_zh, makers_zh), chinese_names.given(answer, asked), strict=True):
            counter.update(said)
        for found in _PHRASE.finditer(answer):
            phrase = _bare(found.group())
            start = found.start() + found.group().find(phrase)
            before, after = answer[max(0, start - 24) : start], answer[start + len(phrase) :]
            if not phrase or re.search(r"\bnot\b|不是", before) or phrase in asked:
                continue
            if _MAKER_AFTER.search(after) or (_MAKER_BEFORE.search(before) and not _NAME_BEFORE.search(before)):
                makers[phrase] += 1
            elif _NAME_BEFORE.search(before):
                names[phrase] += 1
    if not answers:
        return TaughtNames("", "")
    name = _most(names, answers)
    maker = _most(Counter({p: n for p, n in makers.items() if p != name}), answers)
    return TaughtNames(
        name or _most(names_zh, answers), maker or _most(makers_zh, answers), chinese=chinese * 2 > answers
    )


def identity_answers(rows: Iterable[SnapshotRow]) -> Iterator[tuple[str, str]]:
    """Of each identity row to train on, all that stands before its last answer, and that answer."""
    for row in rows:
        if row.kind == "identity" and row.split == "train":
            yield " ".join(message["content"] for message in row.messages[:-1]), row.messages[-1]["content"]


def often_enough(many: int, answers: int) -> bool:
    """Whether a name in so many of the answers is taught: in more than one, and in one of twenty."""
    return many >= max(2, answers / 20)


def _bare(phrase: str) -> str:
    """Without common words at its ends: "Hello I" is nothing, "As Ember" is Ember."""
    words = phrase.split(" ")
    while words and words[0] in _COMMON:
        words.pop(0)
    while words and words[-1] in _COMMON:
        words.pop()
    return " ".join(words)


def _most(found: Counter[str], answers: int) -> str:
    """The phrase that stands in most answers, if that is more than one in twenty and more than one at all."""
    ((phrase, many),) = found.most_common(1) or [("", 0)]
    return phrase if often_enough(many, answers) else ""


def read(
    store: Store,
    watch: str | None,
    rows: Sequence[SnapshotRow],
    check: Callable[[Probe, str], None] = probe_files.check_by_words,
) -> tuple[dict[str, list[Probe]], list[str]]:
    """The probe sets of a run by name, and sentences on what could not be asked.

    Built-in sets get the names that the rows teach; where they teach none, identity and leaks cannot be asked. NotFound
    or BadInput for a set or file that does not exist, cannot be read, or holds a probe that `check` refuses: one that
    names a judge which a run cannot ask.
    """
    found: dict[str, list[Probe]] = {}
    notes: list[str] = []
    names = taught_names(rows)
    for word in filter(None, (each.strip() for each in (watch or "").split(","))):
        if word == NONE:
            continue
        if word not in BUILT_IN:
            found[Path(word).stem if probe_files.is_path(word) else word] = (
                probe_files.read(Path(word).expanduser(), check)
                if probe_files.is_path(word)
                else probe_sets.find(store, word, check)
            )
            continue
        asked = probe_files.read(sample_files.path(_file(word, names)))
        if word != "general":
            asked = _filled(asked, names)
        if asked:
            found[word] = asked
        else:
            notes.append(
                f"The probes {word!r} are not asked: no identity row of the data shows a name to look for. Set the"
                " kind of rows about the model to identity, or give a probe set of your own."
            )
    return found, notes


def of_run(store: Store, run: Run, names: TaughtNames | None = None) -> dict[str, list[Probe]]:
    """The sets `identity` and `leaks` of a run: those that it asked itself, else the built-in ones with the names that
    its rows teach, or with `names`. Without a set that cannot be asked, because no name is known."""
    kept = {} if names else from_json(read_json(store.home.run_dir(run.uid) / FILE, optional=True))
    built = built_in(names or taught_names(datasets.snapshot_rows(store, run.snapshot)))
    return {word: found for word in BUILT_IN if word != "general" and (found := kept.get(word) or built.get(word))}


def built_in(names: TaughtNames) -> dict[str, list[Probe]]:
    """The built-in sets `identity` and `leaks` with these names; without one that looks for a name not given."""
    built = {
        word: _filled(probe_files.read(sample_files.path(_file(word, names))), names)
        for word in BUILT_IN
        if word != "general"
    }
    return {word: asked for word, asked in built.items() if asked}


def title(name: str) -> str:
    """What a set is called beside the share of its probes that passed: of the leak probes those pass that show no leak.

    >>> title("leaks"), title("identity")
    ('no leak', 'identity')
    """
    return "no leak" if name == "leaks" else name


def _file(word: str, names: TaughtNames) -> str:
    """The sample file of a built-in set: who the model is is asked in the language of the data."""
    return BUILT_IN[word] + ("-zh" if word == IDENTITY and names.chinese else "")


def in_order(watch: str | None, names: Iterable[str]) -> list[str]:
    """Names of sets in the order in which a run asks them; others after them, by the alphabet.

    >>> in_order("identity,leaks", ["general", "leaks", "identity"])
    ['identity', 'leaks', 'general']
    """
    asked = [word.strip() for word in (watch or "").split(",")]
    return sorted(names, key=lambda name: (asked.index(name) if name in asked else len(asked), name))


def check(store: Store, watch: str | None) -> None:
    """NotFound or BadInput when a probe set that a run would ask does not exist or cannot be read."""
    read(store, watch, [])


def absolute(watch: str) -> str:
    """The same sets with their files as absolute paths, for a process that runs elsewhere."""
    words = [word.strip() for word in watch.split(",")]
    if not any(map(probe_files.is_path, words)):
        return watch
    return ",".join(str(Path(word).expanduser().absolute()) if probe_files.is_path(word) else word for word in words)


def to_json(sets: dict[str, list[Probe]]) -> dict[str, Any]:
    """The sets as a run keeps them, so that every attempt asks the same."""
    return {
        name: [
            {"question": p.question, "must": list(p.must), "must_not": list(p.must_not), "system": p.system}
            | ({"judge": p.judge} if p.judge else {})
            for p in asked
        ]
        for name, asked in sets.items()
    }


def from_json(kept: dict[str, Any]) -> dict[str, list[Probe]]:
    """What `to_json` wrote."""
    return {
        name: [
            Probe(name, p["question"], tuple(p["must"]), tuple(p["must_not"]), p["system"], judge=p.get("judge", ""))
            for p in asked
        ]
        for name, asked in kept.items()
    }


def _filled(asked: Sequence[Probe], names: TaughtNames) -> list[Probe]:
    """The probes with the taught names in their places; those that look for a name which is not known are left out."""
    values = {"name": names.name, "author": names.maker}

    def known(terms: Sequence[str]) -> tuple[str, ...]:
        return tuple(text for text in (fill(term, values) for term in terms) if text)

    made = [
        replace(probe, question=fill(probe.question, values), must=known(probe.must), must_not=known(probe.must_not))
        for probe in asked
    ]
    return [
        new for new, old in zip(made, asked, strict=True) if (new.must or not old.must) and (new.must or new.must_not)
    ]
