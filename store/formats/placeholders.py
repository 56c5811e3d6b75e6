"""`{{name}}` placeholders in text: which there are, and filling them.
What fills them comes from the person who imports; a value is never filled again."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


def unfilled(text: str) -> list[str]:
    """The names of the placeholders in `text`, each once, in order."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(text))) if "{{" in text else []


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every placeholder that has a value replaced by it; the others stay."""
    if "{{" not in text:
        return text
    return _PLACEHOLDER.sub(lambda match: variables.get(match[1], match[0]), text)
