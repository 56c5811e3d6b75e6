"""The search language: what a user types to find pairs, read into terms, and the terms as SQL with bound values.
How words are cut and matched is in search_text.py, running the search in search.py; nothing here changes the store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from store import search, search_text
from store.curate import duplicates, question_forms, statistics
from store.db import Store
from store.errors import BadInput
from store.records import KINDS, SPLITS, STATUSES, Kind, Pair, Split, Status
from store.rows import pair_from
from store.search import Condition
from store.suggest import close, did_you_mean

_REGEX_S = 1.0
"""How long a regular expression may take on one pair, in seconds."""
_BATCH = 2_000
_HALF = re.compile("[\ud800-\udfff]")
"""Half a character: no text in the store has one, and SQLite takes none."""
_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"([A-Za-z]+)(:|<=|>=|<|>|=)")
_VALUE = re.compile(r'"([^"]*)"?|([^\s,"]+)')
_TEXT = re.compile(r'"[^"]*"?|[^\s"]+')
_REGEX = re.compile(r"/((?:[^/\\\n]|\\.)+)/(i?)(?=\s|$)")
_AGE = re.compile(r"(\d{1,6})([mhdw])")
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_OPPOSITE = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_DAY, _AFTER_DAY = len("2026-01-31"), {">": ">=", "<=": "<"}
"""Characters of a day without a time, and what comparing with one means for the midnight at its end."""


class BadQuery(BadInput):
    """A query that cannot be read. `start` and `end` are the characters that are wrong, counted from 0."""

    def __init__(self, what: str, start: int, end: int, *, todo: str | None = None) -> None:
        super().__init__(what, where=f"query, character {start + 1}", todo=todo)
        self.start, self.end = start, end


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """One part of a query, from character `start` to `end`.

    `name` is that of a filter, "/" of a regular expression (its one value, `sign` "i" to ignore case), "" of text to
    find (as it was typed). A pair matches when any of the values fits; with `negated`, when none does.
    """

    start: int
    end: int
    negated: bool
    name: str
    sign: str
    values: tuple[str, ...]

    def wrong(self, what: str, todo: str | None = None) -> BadQuery:
        """The error that points to this term."""
        return BadQuery(what, self.start, self.end, todo=todo)

    def one_of(self, known: Sequence[str], what: str) -> list[str]:
        """The values, each as one of the known names, whatever its case. BadQuery for another one, with near names."""
        by_fold = {name.casefold(): name for name in known}
        for value in self.values:
            if value.casefold() not in by_fold:
                some = f"Use one of: {', '.join(known[:12])}{', …' if len(known) > 12 else ''}." if known else None
                raise self.wrong(f"There is no {what} {value!r}.", did_you_mean(close(value, known)) or some)
        return [by_fold[value.casefold()] for value in self.values]


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """What stands before the colon of a term. `known` lists the values there are, for completion."""

    name: str
    help: str
    condition: Callable[[Store, SearchTerm, Sequence[int]], Condition]
    """From the store, the term and the ids of the datasets that the query is limited to (none: not limited)."""
    known: Callable[[Store], Sequence[str]] = lambda store: ()
    compares: bool = False
    """Whether it takes <, <=, > and >= instead of a colon."""


FILTERS: dict[str, SearchFilter] = {}
"""The filters that are registered, by name."""


def register(filter: SearchFilter) -> None:
    """Adds a filter to the language: search, completion and help know it from then on."""
    FILTERS[filter.name] = filter


# -- reading -----------------------------------------------------------------------------------------------------------


def parse(text: str) -> list[SearchTerm]:
    """The terms of a query, in their order. BadQuery for a filter without a value, an open pattern, a mistyped name.

    >>> [(term.negated, term.name, term.sign, term.values) for term in parse("refund -kind:identity /colou?r/i")]
    [(False, '', '', ('refund',)), (True, 'kind', ':', ('identity',)), (False, '/', 'i', ('colou?r',))]
    """
    return list(_terms(_HALF.sub("\ufffd", text)))


def _terms(text: str) -> Iterator[SearchTerm]:
    at = 0
    while at < len(text):
        if space := _SPACE.match(text, at):
            at = space.end()
            continue
        start, negated = at, False
        if text[at] == "-" and at + 1 < len(text) and (text[at + 1].isalnum() or text[at + 1] in '"/'):
            negated, at = True, at + 1
        term = _filter(text, start, at, negated) or _pattern(text, start, at, negated)
        if term is None:
            found = _TEXT.match(text, at)
            end = found.end() if found else at + 1
            term = SearchTerm(start, end, negated, "", "", (text[at:end],))
        yield term
        at = term.end


def _filter(text: str, start: int, at: int, negated: bool) -> SearchTerm | None:
    head = _NAME.match(text, at)
    if head is None:
        return None
    name, sign = head[1].lower(), head[2]
    known = FILTERS.get(name)
    values, end = _values(text, head.end())
    if known is None:
        if sign == ":" and values and (near := _mistyped(name)):
            what = f"There is no filter {head[1]}."
            raise BadQuery(what, start, end, todo=f'{did_you_mean(near)} To find it as text, write "{text[at:end]}".')
        return None
    if sign not in (("<", "<=", ">", ">=") if known.compares else (":",)):
        right = f"{name}>… or {name}<…" if known.compares else f"{name}:…"
        raise BadQuery(f"The filter {name} is not written with {sign}", start, end, todo=f"Write {right}")
    if not values:
        raise BadQuery(f"The filter {name} has no value.", start, end, todo=f"{known.help}.")
    return SearchTerm(start, end, negated, name, sign, values)


def _values(text: str, at: int) -> tuple[tuple[str, ...], int]:
    values: list[str] = []
    while found := _VALUE.match(text, at):
        value = found[2] if found[1] is None else found[1]
        values += [value] if value else []
        at = found.end()
        if text[at : at + 1] != ",":
            break
        at += 1
    return tuple(values), at


def _mistyped(name: str) -> list[str]:
    """The filters that a name is one letter off: `statu`, `datset`. Another word before a colon is text."""
    return [known for known in FILTERS if len(name) > 2 and len(known) > 2 and _one_letter_off(name, known)]


def _one_letter_off(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    n = next((n for n, char in enumerate(short) if char != long[n]), len(short))
    if len(short) < len(long):
        return short[n:] == long[n + 1 :]
    swapped = short[:n] + short[n + 1 : n + 2] + short[n : n + 1] + short[n + 2 :]
    return short[n + 1 :] == long[n + 1 :] or swapped == long


def _pattern(text: str, start: int, at: int, negated: bool) -> SearchTerm | None:
    if text[at] != "/" or text[at + 1 : at + 2] in ("", " ", "/", "*"):  # a lone sign, a comment of a program
        return None
    found = _REGEX.match(text, at)
    if found is None:
        end = len(text)
        todo = 'Close it with / and a space after it. To find a slash as text, write it in quotes: "/"'
        raise BadQuery("The regular expression has no end.", start, end, todo=todo)
    term = SearchTerm(start, found.end(), negated, "/", found[2], (found[1],))
    compiled(term)
    return term


def compiled(term: SearchTerm) -> Any:
    """The regular expression of a term; ^ and $ are the ends of lines. BadQuery when it is none."""
    return compile_regex(term.values[0], ignore_case=term.sign == "i", start=term.start, end=term.end)


def compile_regex(pattern: str, *, ignore_case: bool = False, start: int = 0, end: int | None = None) -> Any:
    """A regular expression as the package regex has it: unlike the one in Python, it can be given a time limit, and
    lets other threads run. BadQuery when it cannot be read, with the place in the text from `start` on."""
    import regex  # type: ignore[import-untyped]  # slow to import, and rarely needed

    try:
        return regex.compile(pattern, regex.MULTILINE | (regex.IGNORECASE if ignore_case else 0))
    except (regex.error, RecursionError, OverflowError) as error:
        reason = getattr(error, "msg", None) or str(error)
        what = f"This is not a regular expression: {reason}."
        stop = len(pattern) if end is None else end
        raise BadQuery(what, start, stop, todo=r"Write a sign that is only text with \ before it.") from None


def words(text: str) -> str:
    """The text of a query that is to be found, without its filters: what is highlighted. "" when it cannot be read."""
    try:
        return _to_find(parse(text))
    except BadQuery:
        return ""


# -- searching ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Query:
    """A query that was read, by how each of its parts is looked for: the text to find, conditions of SQL, phrases that
    must not be there together, regular expressions."""

    found: str
    conditions: list[Condition]
    without: list[list[tuple[str, bool]]]
    patterns: list[tuple[Any, SearchTerm]]


def _read(store: Store, text: str, dataset: str | None) -> _Query:
    terms = parse(text)
    scope = _scope(store, terms, dataset)
    refused = [search_text.phrases(term.values[0]) for term in terms if not term.name and term.negated]
    return _Query(
        _to_find(terms),
        [_condition(store, term, scope) for term in terms if term.name not in ("", "/")],
        [phrases for phrases in refused if phrases],
        [(compiled(term), term) for term in terms if term.name == "/"],
    )


def _to_find(terms: Iterable[SearchTerm]) -> str:
    return " ".join(term.values[0] for term in terms if not term.name and not term.negated)


def search_ids(
    store: Store,
    text: str = "",
    *,
    dataset: str | None = None,
    status: Status | None = None,
    kind: Kind | None = None,
    split: Split | None = None,
) -> list[int]:
    """Ids of the live pairs that a query finds, newest first; the filters limit it further.

    BadQuery points to what is wrong with the query.
    """
    asked = _read(store, text, dataset)
    conditions = [*asked.conditions, *map(_without, asked.without)]
    ids = search.search_ids(
        store, asked.found, dataset=dataset, status=status, kind=kind, split=split, conditions=conditions
    )
    return list(_matching(store, ids, asked.patterns)) if asked.patterns else ids


def first_ids(
    store: Store,
    text: str = "",
    *,
    limit: int,
    dataset: str | None = None,
    status: Status | None = None,
    kind: Kind | None = None,
    split: Split | None = None,
) -> list[int]:
    """The first `limit` ids of what `search_ids` finds: what a screen shows while a search is typed, at once also among
    very many pairs.
    """
    asked = _read(store, text, dataset)

    def fits(row: Any, body: str) -> bool:
        if any(all(search_text.holds(body, phrases)) for phrases in asked.without):
            return False
        return not asked.patterns or _all_say(search.page(store, [row["id"]])[0], asked.patterns)

    return search.first_ids(
        store, asked.found, limit=limit, dataset=dataset, status=status, kind=kind, split=split,
        conditions=asked.conditions, fits=fits if asked.without or asked.patterns else None,
    )  # fmt: skip


def uids(store: Store, text: str = "", **filters: Any) -> list[str]:
    """The uids of the pairs that a query finds, newest first."""
    return search.uids(store, search_ids(store, text, **filters))


def _scope(store: Store, terms: Sequence[SearchTerm], dataset: str | None) -> list[int]:
    """The datasets that a split is looked up in."""
    ids = [int(store.scalar("SELECT id FROM dataset WHERE name = ?", (dataset,)) or 0)] if dataset is not None else []
    for term in terms:
        if term.name == "dataset" and not term.negated:
            ids += _dataset_ids(store, term)
    return ids


def _condition(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    sql, values = FILTERS[term.name].condition(store, term, scope)
    return (f"NOT ({sql})" if term.negated else f"({sql})"), values


def _without(phrases: Sequence[tuple[str, bool]]) -> Condition:
    sql = "p.id NOT IN (SELECT rowid FROM pair_fts WHERE pair_fts MATCH ?)"
    return sql, (search_text.expression_of(phrases),)


def _matching(store: Store, ids: Sequence[int], wanted: Sequence[tuple[Any, SearchTerm]]) -> Iterator[int]:
    for start in range(0, len(ids), _BATCH):
        for pair in search.page(store, ids[start : start + _BATCH]):
            if _all_say(pair, wanted):
                yield pair.id


def _all_say(pair: Pair, wanted: Sequence[tuple[Any, SearchTerm]]) -> bool:
    return all(_says(pair, pattern, term) is not term.negated for pattern, term in wanted)


def _says(pair: Pair, pattern: Any, term: SearchTerm) -> bool:
    texts = (pair.question, pair.answer, pair.system, *(turn.content for turn in pair.history))
    try:
        return any(pattern.search(text, timeout=_REGEX_S, concurrent=True) for text in texts)
    except TimeoutError:
        what = f"The regular expression takes more than {_REGEX_S:g} s on the pair {pair.uid}."
        raise term.wrong(what, "Write it without repeats inside repeats, such as (a+)+.") from None


# -- completion --------------------------------------------------------------------------------------------------------


def completions(store: Store, text: str) -> list[str]:
    """What the query may become when its last term is completed: names of filters, then the values they know.

    Each answer is the whole query. Empty when the last term is text or is complete.
    """
    start = max((space.end() for space in _SPACE.finditer(text)), default=0)
    if text.count('"', 0, start) % 2:
        start = text.rfind('"', 0, start)
        start = max((space.end() for space in _SPACE.finditer(text, 0, start)), default=0)
    start += text[start : start + 1] == "-"
    last = text[start:]
    if (head := _NAME.match(last)) is None:
        found = [name + (">" if known.compares else ":") for name, known in FILTERS.items()]
        return [text[:start] + name for name in found if last and name.startswith(last.lower())]
    known = FILTERS.get(head[1].lower())
    if known is None:
        return []
    typed = last[head.end() :]
    cut = typed.rfind(",") + 1 if typed.count('"') % 2 == 0 else typed.rfind(',"') + 1
    part = typed[cut:].strip('"').casefold()
    before = text[: start + head.end() + cut]
    names = [name for name in known.known(store) if name.casefold().startswith(part) and name.casefold() != part]
    return [before + (f'"{name}"' if _SPACE.search(name) or "," in name else name) for name in names]


# -- the filters -------------------------------------------------------------------------------------------------------


def _in(column: str, values: Sequence[Any]) -> Condition:
    return f"{column} IN ({', '.join('?' * len(values))})", values


def _dataset_names(store: Store) -> Sequence[str]:
    return store.column("SELECT name FROM dataset ORDER BY name")


def _dataset_ids(store: Store, term: SearchTerm) -> list[int]:
    names = term.one_of(_dataset_names(store), "dataset")
    sql, values = _in("name", names)
    return store.column(f"SELECT id FROM dataset WHERE {sql}", values)


def _kind(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    return _in("p.kind", term.one_of(KINDS, "kind"))


def _status(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    return _in("p.status", term.one_of(STATUSES, "status"))


def _dataset(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    sql, values = _in("dataset_id", _dataset_ids(store, term))
    return f"EXISTS (SELECT 1 FROM dataset_pair WHERE pair_id = p.id AND {sql})", values


def _split(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    sql, values = _in("split", term.one_of(SPLITS, "split"))
    inside, ids = _in("dataset_id", scope) if scope else ("1", ())
    return f"EXISTS (SELECT 1 FROM dataset_pair WHERE pair_id = p.id AND {sql} AND {inside})", (*values, *ids)


def tags(store: Store) -> Sequence[str]:
    """Every tag of a live pair, by the alphabet."""
    sql = "SELECT DISTINCT t.value FROM pair p, json_each(p.tags) t WHERE p.tags <> '[]' AND p.deleted_at IS NULL"
    return sorted(str(tag) for tag in store.column(sql))


def _tag(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    sql, values = _in("t.value COLLATE NOCASE", term.values)
    return f"p.tags <> '[]' AND EXISTS (SELECT 1 FROM json_each(p.tags) t WHERE {sql})", values


def _sources(store: Store) -> Sequence[str]:
    sql = "SELECT DISTINCT json_extract(source, '$.file') FROM pair WHERE deleted_at IS NULL AND source <> '{}'"
    return sorted(str(name) for name in store.column(sql) if name is not None)


def _source(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    has = " OR ".join(["instr(lower(s.value), lower(?))"] * len(term.values))
    return f"p.source <> '{{}}' AND EXISTS (SELECT 1 FROM json_each(p.source) s WHERE {has})", term.values


def _uid(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    return " OR ".join(["(p.uid >= ? AND p.uid < ?)"] * len(term.values)), [
        bound for value in term.values for bound in (value, value + "~")
    ]


_PROMPT = (
    "json_array('user', p.question) IN (SELECT json_array(json_extract(r.prompt, '$[#-1].role'),"
    " json_extract(r.prompt, '$[#-1].content')) FROM {table} r)"
)
_HAS = {
    "system": "p.system <> ''",
    "history": "p.history <> '[]'",
    "answer": "trim(p.answer) <> ''",
    "tag": "p.tags <> '[]'",
    "dataset": "p.id IN (SELECT pair_id FROM dataset_pair)",
    "preference": _PROMPT.format(table="preference"),
    "feedback": _PROMPT.format(table="feedback"),
}


def _has(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    return " OR ".join(_HAS[name] for name in term.one_of(tuple(_HAS), "part")), ()


_DUPLICATES: dict[str, Callable[[Iterable[Pair]], list[list[str]]]] = {
    "exact": duplicates.exact,
    "conflict": duplicates.conflicts,
}


def _dup(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    sql = "SELECT * FROM pair WHERE deleted_at IS NULL AND status <> 'rejected'"
    live = [pair_from(row) for row in store.rows(sql)]
    found = {
        uid for name in term.one_of(tuple(_DUPLICATES), "sort of duplicate")
        for group in _DUPLICATES[name](live) for uid in group
    }  # fmt: skip
    return "p.uid IN (SELECT value FROM json_each(?))", (search.as_json(found),)


def _length(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    if len(term.values) != 1 or not re.fullmatch(r"[0-9]{1,15}", term.values[0]):
        raise term.wrong("A length is a number of characters.", f"Write it like len{term.sign}200")
    return f"length(p.question) + length(p.answer) {term.sign} ?", (int(term.values[0]),)


def _length_of(column: str, store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    _, number = _length(store, term, scope)
    return f"length({column}) {term.sign} ?", number


def _found_in_texts(
    fits: Callable[[Pair, Sequence[str]], bool], store: Store, term: SearchTerm, scope: Sequence[int]
) -> Condition:
    """A condition on what is computed from the texts of each pair; only pairs of the datasets in scope are read."""
    inside, ids = _in("dataset_id", scope)
    joined = f"p.id IN (SELECT pair_id FROM dataset_pair WHERE {inside})" if scope else "1"
    values = [value.casefold() for value in term.values]
    live = store.rows(f"SELECT p.* FROM pair p WHERE p.deleted_at IS NULL AND {joined}", tuple(ids))
    found = [pair.id for pair in map(pair_from, live) if fits(pair, values)]
    return "p.id IN (SELECT value FROM json_each(?))", (search.as_json(found),)


def _speaks(pair: Pair, languages: Sequence[str]) -> bool:
    return (question_forms.language_of(pair) or statistics.UNSURE) in languages


def _has_form(pair: Pair, forms: Sequence[str]) -> bool:
    return pair.kind == "identity" and not set(forms).isdisjoint(question_forms.forms_of(pair) or [OTHER_FORM])


def _form(store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    term.one_of(_FORMS, "question form")
    return _found_in_texts(_has_form, store, term, scope)


OTHER_FORM = "other"
"""The form of an identity pair that no rule recognises."""
_FORMS = (*(form for form in question_forms.FORMS if form != "languages"), OTHER_FORM)


def _when(column: str, store: Store, term: SearchTerm, scope: Sequence[int]) -> Condition:
    value = term.values[0]
    if len(term.values) == 1 and (age := _AGE.fullmatch(value)):
        at = int(time.time() * 1000) - int(age[1]) * _UNIT_MS[age[2]]
        return f"{column} {_OPPOSITE[term.sign]} ?", (at,)
    try:
        moment, sign = datetime.fromisoformat(value if len(term.values) == 1 else ""), term.sign
        if len(value) <= _DAY and sign in _AFTER_DAY:  # after a day is after its last moment
            moment, sign = moment + timedelta(days=1), _AFTER_DAY[sign]
        return f"{column} {sign} ?", (int(moment.timestamp() * 1000),)
    except (ValueError, OverflowError, OSError):
        todo = f"Write an age like {term.name}<7d (m, h, d, w) or a day like {term.name}>2026-01-31"
        raise term.wrong(f"{value!r} is not a time.", todo) from None


for _each in (
    SearchFilter("kind", "kind:instruction or kind:identity", _kind, lambda store: KINDS),
    SearchFilter("status", "status:draft, status:ready or status:rejected", _status, lambda store: STATUSES),
    SearchFilter("dataset", "dataset:NAME, the pairs of a dataset", _dataset, _dataset_names),
    SearchFilter("split", "split:train, split:val or split:test", _split, lambda store: SPLITS),
    SearchFilter("tag", "tag:NAME, whatever its case", _tag, tags),
    SearchFilter("has", f"has:PART, one of {', '.join(_HAS)}", _has, lambda store: tuple(_HAS)),
    SearchFilter("source", "source:TEXT, in the name of the file (or model) it came from", _source, _sources),
    SearchFilter(
        "dup", "dup:exact (the same text twice) or dup:conflict (one question, two answers)", _dup,
        lambda store: tuple(_DUPLICATES),
    ),
    SearchFilter("uid", "uid:06f3, the beginning of a uid", _uid),
    SearchFilter("len", "len>200, characters of question and answer together", _length, compares=True),
    SearchFilter("qlen", "qlen>200, characters of the question", partial(_length_of, "p.question"), compares=True),
    SearchFilter("alen", "alen>200, characters of the answer", partial(_length_of, "p.answer"), compares=True),
    SearchFilter("lang", "lang:en, lang:zh or lang:unsure, the language of the answer",
                 partial(_found_in_texts, _speaks)),
    SearchFilter("form", f"form:FORM of an identity pair, one of {', '.join(_FORMS)}", _form, lambda store: _FORMS),
    SearchFilter(
        "asks", 'asks:"what is", the first two words of the question (two characters in Chinese)',
        partial(_found_in_texts, lambda pair, values: statistics.opening(pair.question) in values),
    ),
    SearchFilter(
        "says", 'says:"i am", the first two words of the answer',
        partial(_found_in_texts, lambda pair, values: statistics.opening(pair.answer) in values),
    ),
    SearchFilter(
        "changed", "changed<7d (less than 7 days ago; m, h, d, w) or changed>2026-01-31 (after it)",
        partial(_when, "p.updated_at"), compares=True,
    ),
    SearchFilter("created", "created<7d or created>2026-01-31", partial(_when, "p.created_at"), compares=True),
):  # fmt: skip
    register(_each)
