"""Secrets: keys, passwords and personal data that a model should not learn.
Patterns with a check where one exists; a finding names the kind and the place, never the secret itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from store.curate.findings import Finding, Level, PairLike, texts


@dataclass(frozen=True, slots=True)
class Secret:
    """A stretch of text that looks like a secret."""

    kind: str
    start: int
    end: int


_PATTERNS: tuple[tuple[str, Level, str], ...] = (
    ("private key", "error", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    ("AWS key", "error", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("GitHub token", "error", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})"),
    ("Hugging Face token", "error", r"\bhf_[A-Za-z0-9]{30,}"),
    ("API key", "error", r"\bsk-(?:[a-z]+-)*[A-Za-z0-9_]{20,}"),
    ("Google key", "error", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("Slack token", "error", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    ("web token", "error", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    ("address with a password", "error", r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@[^\s/]+"),
    ("password", "warning", r"(?i)\b(?:password|passwd|secret|api[_-]?key)\s*[:=]\s*[\"']?(?=\S*\d)[^\s\"',;]{8,}"),
    ("card number", "error", r"\b\d(?:[ -]?\d){12,18}\b"),
    ("bank account", "warning", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ("e-mail address", "info", r"\b[\w.+-]+@(?!example\.)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\b"),
)
_COMPILED = [(kind, re.compile(pattern)) for kind, _, pattern in _PATTERNS]
_LEVELS: dict[str, Level] = {kind: level for kind, level, _ in _PATTERNS}


def find(text: str) -> list[Secret]:
    """The secrets in `text`, in order, none overlapping another."""
    found = [
        Secret(kind, match.start(), match.end())
        for kind, pattern in _COMPILED
        for match in pattern.finditer(text)
        if _is_valid(kind, match[0])
    ]
    kept: list[Secret] = []
    for secret in sorted(found, key=lambda secret: (secret.start, -secret.end)):
        if not kept or secret.start >= kept[-1].end:
            kept.append(secret)
    return kept


def mask(text: str) -> str:
    """`text` with every secret replaced by its kind in brackets."""
    for secret in reversed(find(text)):
        text = f"{text[: secret.start]}[{secret.kind}]{text[secret.end :]}"
    return text


def scan(pairs: Iterable[PairLike]) -> list[Finding]:
    """Where many pairs contain secrets."""
    return [finding for pair in pairs for finding in scan_texts(pair.uid, texts(pair))]


def scan_texts(uid: str, texts: Iterable[tuple[str, str]]) -> list[Finding]:
    """Where the named texts of one row contain secrets."""
    return [
        Finding(
            uid, "secret", field, f"contains what looks like a {secret.kind} at {secret.start}", _LEVELS[secret.kind]
        )
        for field, text in texts
        for secret in find(text)
    ]


def _is_valid(kind: str, text: str) -> bool:
    """Whether a match passes its kind's checksum; kinds without one always do."""
    if kind == "card number":
        return _luhn([int(digit) for digit in text if digit.isdigit()])
    if kind == "bank account":
        plain = text.replace(" ", "")
        return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1
    return True


def _luhn(digits: list[int]) -> bool:
    doubled = [digit if n % 2 == 0 else digit * 2 - 9 * (digit > 4) for n, digit in enumerate(reversed(digits))]
    return len(digits) >= 13 and len(set(digits)) > 1 and sum(doubled) % 10 == 0
