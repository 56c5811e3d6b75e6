"""Keys, passwords and personal data as lint rules: one rule for each kind, so that each can be muted by itself.
What they look like is in curate/secrets.py; a finding names the kind and the place, never the secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from store.curate import secrets
from store.curate.findings import Level
from store.curate.lint.rule import LintHit, LintRow, LintRule, LintText

_PASSWORD_WANTED = re.compile(
    r"(?:generat|creat|suggest|random|strong|make)[^.\n]{0,24}passw|(?:生成|随机|强)[^。\n]{0,8}密码"
)


def _of(rule: str) -> Callable[[LintText, LintRow], Iterator[LintHit]]:
    def find(text: LintText, row: LintRow) -> Iterator[LintHit]:
        for secret in secrets.found_in(text.text):
            if secret.kind == "password" and row.asks(_PASSWORD_WANTED):
                continue
            if secrets.rule_of(secret.kind) == rule:
                yield LintHit(secret.start, secret.end, secrets.sentence(secret))

    return find


def _rule(name: str, level: Level, about: str, signs: str = "") -> LintRule:
    return LintRule(name, level, about, _of(name), signs=frozenset(signs), fix=secrets.masking(name))


RULES = (
    _rule("secret", "error", "keys, tokens and passwords"),
    _rule("card", "error", "card and bank account numbers", "0123456789"),
    _rule("id-number", "error", "numbers of identity cards and social security", "0123456789"),
    _rule("phone", "info", "telephone numbers", "0123456789"),
    _rule("email", "info", "e-mail addresses", "@"),
)
