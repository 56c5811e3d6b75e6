"""`{{name}}` placeholders in text: which there are, and filling them.
What fills them comes from the user; a value is never filled again. Which of them are fields of a file and which are
text, such as code, is decided in importing.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

CONVENTIONAL = ("name", "author")
"""The placeholders that identity data uses by convention (LLaMA-Factory's identity.json and ours)."""
_SHARE = 3
"""A file follows the convention when at least one in this many of its rows has such a placeholder in its prose, written
without spaces in it: {{ name }} with spaces is how Jinja, Vue and others write code."""
_WRITTEN = tuple("{{" + name + "}}" for name in CONVENTIONAL)

# What stands directly before or after makes it something else: \frac{{a}}, x^{{2}}, ${{x}}, #{{x}}, f"{{{x}}}".
_PLACEHOLDER = re.compile(
    r"(?P<before>\\[A-Za-z]*|[\^_$#{])?\{\{\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*\}\}(?P<after>\})?"
)
_CODE = re.compile(
    r"```.*?(```|\Z)|`[^`\n]*`|\{%.*?%\}|<([A-Za-z][\w-]*)\b[^<>]*>.*?</\2>|<[A-Za-z/][^<>]*>", re.DOTALL
)


def unfilled(text: str) -> list[str]:
    """The names of the placeholders in `text`, each once, in order."""
    if "{{" not in text:
        return []
    found = (match["name"] for match in _PLACEHOLDER.finditer(text) if not match["before"] and not match["after"])
    return list(dict.fromkeys(found))


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every placeholder that has a value replaced by it; the others stay."""
    if "{{" not in text:
        return text
    return _PLACEHOLDER.sub(
        lambda match: match[0] if match["before"] or match["after"] else variables.get(match["name"], match[0]), text
    )


def prose(text: str) -> str:
    """`text` without the code in it: fenced blocks, backticks, template tags and markup."""
    return _CODE.sub("", text)


class PlaceholderCount:
    """Counts the placeholders of a file's rows, and says which of them the file uses as fields."""

    def __init__(self) -> None:
        self.rows = 0
        self.in_rows: dict[str, int] = {}
        """In how many rows each placeholder stands."""
        self.lines: dict[str, int] = {}
        """The line of the row where each stands first."""
        self._with_conventional = 0

    def add(self, line: int, texts: Iterable[str]) -> None:
        """Count the texts of one row."""
        self.rows += 1
        text = "\n".join(texts)
        for name in unfilled(text):
            self.in_rows[name] = self.in_rows.get(name, 0) + 1
            self.lines.setdefault(name, line)
        if any(each in text for each in _WRITTEN) and any(each in prose(text) for each in _WRITTEN):
            self._with_conventional += 1

    def follows_convention(self) -> bool:
        """Whether the file is identity data: a good part of its rows has {{name}} or {{author}} in its prose."""
        return self._with_conventional * _SHARE >= self.rows > 0

    def fields(self, declared: Iterable[str]) -> list[str]:
        """The placeholders that need a value: those the file declares or uses by convention, and has."""
        wanted = [*declared, *(CONVENTIONAL if self.follows_convention() else ())]
        return [name for name in self.in_rows if name in wanted]
