"""What a lint rule is, and what it sees of a row: texts with their roles, each prepared once for all rules.
The rules themselves are in the files beside this one, by topic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from store.curate.findings import Level

Role = Literal["system", "question", "answer", "other"]
"""How a text is used: earlier turns count as questions and answers, the rejected answer of a preference as
`other`."""
EVERYWHERE: tuple[Role, ...] = ("system", "question", "answer", "other")
SAID: tuple[Role, ...] = ("answer",)

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LintHit:
    """Where a rule found something, in characters of the text, and what: "contains <|im_end|>, which …"."""

    start: int
    end: int
    what: str


class LintText:
    """One text of a row: its field (`answer`, `history[0]` …), its role, and what rules ask of it again and again."""

    __slots__ = ("_prose", "field", "lower", "plain", "role", "text")

    def __init__(self, field: str, role: Role, text: str) -> None:
        self.field, self.role, self.text = field, role, text
        self.lower = text.lower()
        self.plain = text.isascii()
        self._prose: str | None = None

    @property
    def prose(self) -> str:
        """The text with its code (fences and backticks) blanked out, so that places stay the same."""
        if self._prose is None:
            text = self.text
            self._prose = _CODE.sub(lambda found: " " * len(found[0]), text) if "`" in text else text
        return self._prose

    def has(self, *words: str) -> bool:
        """Whether any of these lower-case words or characters is part of the text."""
        return any(word in self.lower for word in words)


class LintRow:
    """One row: its kind, its texts that are not empty, and of these the last question and the answer to it."""

    def __init__(self, kind: str, texts: list[LintText], question: LintText | None, answer: LintText | None) -> None:
        self.kind, self.texts, self.question, self.answer = kind, texts, question, answer

    @cached_property
    def request(self) -> str:
        """System texts and questions in lower case: what the answer was asked to be."""
        return "\n".join(text.lower for text in self.texts if text.role in ("system", "question"))

    def asks(self, words: re.Pattern[str]) -> bool:
        """Whether what was asked for matches."""
        return bool(words.search(self.request))


Finder = Callable[[LintText, LintRow], Iterable[LintHit]]
RowFinder = Callable[[LintRow], Iterable[tuple[str, LintHit]]]


@dataclass(frozen=True, slots=True)
class LintRule:
    """One kind of fault. `about` completes "finds …" in a list of the rules.

    A rule looks at a text only when the text has one of the characters `signs` and one of the lower-case `words`, as
    far as these are given, and with `foreign` only when it is not all ASCII: what makes lint fast. `fix` gives the
    whole text as it should be, and the text itself where it cannot correct it.
    """

    name: str
    level: Level
    about: str
    find: Finder | None = None
    find_in_row: RowFinder | None = None
    roles: tuple[Role, ...] = EVERYWHERE
    signs: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    foreign: bool = False
    fix: Callable[[str], str] | None = None
    plain_words: tuple[str, ...] = field(init=False, default=())
    """Those of `words` that an ASCII text can have."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain_words", tuple(word for word in self.words if word.isascii()))


def shown(text: str, most: int = 40) -> str:
    """A stretch of text as a finding quotes it."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")
