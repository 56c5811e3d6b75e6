"""Secrets: keys, passwords and personal data that a model should not learn.
Patterns with a check where one exists; a finding names the kind and the place, never the secret itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

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
    ("API key", "error", r"\bsk-(?:[a-z0-9]{1,8}-){0,4}[A-Za-z0-9_]{20,}"),
    ("Google key", "error", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("Slack token", "error", r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    ("web token", "error", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    ("bearer token", "error", r"(?i)\bbearer\s+(?=[A-Za-z._~+/-]*\d)[A-Za-z0-9._~+/-]{20,}=*"),
    ("address with a password", "error", r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{1,99}:[^\s/@]{1,99}@[^\s/]+"),
    (
        "password",
        "warning",
        r"(?i)\b(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?token)\s*[:=]\s*[\"']?(?=\S*\d)[^\s\"',;]{8,}"
        r"|(?:密码|口令)\s*(?:是|为|[:：=])\s*(?=[A-Za-z0-9@#$!_.-]*\d)[A-Za-z0-9@#$!_.-]{6,}",
    ),
    ("card number", "error", r"(?<![\d.,/A-Za-z_-])\d(?:[ -]?\d){12,18}(?![\d/A-Za-z_]|[.,-]\d)"),
    ("bank account", "warning", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ("identity card number", "error", r"(?<![\dA-Za-z.])\d{17}[\dXx](?![\dA-Za-z.])"),
    ("social security number", "error", r"(?<![\w.-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    (
        "phone number",
        "info",
        r"(?<![\w.+/-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){6,11}(?!\d)"
        r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4})(?![\w-]|\.\d)"
        r"|(?<![\dA-Za-z.+_-])(?:\+?86[ -]?)?1[3-9]\d(?:\d{8}|[ -]\d{4}[ -]\d{4})(?![\dA-Za-z._-])",
    ),
    ("e-mail address", "info", r"(?a:(?<![\w.+/:-])[\w.+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b)"),
)
_COMPILED = [(kind, re.compile(pattern)) for kind, _, pattern in _PATTERNS]
_LEVELS: dict[str, Level] = {kind: level for kind, level, _ in _PATTERNS}
_PLUGINS = (
    "artifactory.ArtifactoryDetector", "aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector",
    "basic_auth.BasicAuthDetector", "discord.DiscordBotTokenDetector", "github_token.GitHubTokenDetector",
    "gitlab_token.GitLabTokenDetector", "jwt.JwtTokenDetector", "mailchimp.MailchimpDetector", "npm.NpmDetector",
    "openai.OpenAIDetector", "pypi_token.PypiTokenDetector", "sendgrid.SendGridDetector", "slack.SlackDetector",
    "square_oauth.SquareOAuthDetector", "stripe.StripeDetector", "telegram_token.TelegramBotTokenDetector",
    "twilio.TwilioKeyDetector",
)  # fmt: skip
"""The detectors of detect-secrets for the keys of one vendor each. Those that guess by words or entropy
accuse code."""

RULES = {
    "card number": "card", "bank account": "card", "identity card number": "id-number",
    "social security number": "id-number", "phone number": "phone", "e-mail address": "email",
}  # fmt: skip
"""The lint rule of each kind; any other kind belongs to the rule `secret`."""
_ASSIGNED = re.compile(
    r"(?i)(?:passw|pwd|secret|api[_-]?key|token|密码|口令)\w{0,8}[\"']?\s*(?:[:：=]|是|为)|://[^\s/]*@|-----begin"
)
_WORDS = ("passw", "pwd", "secret", "api", "token", "密码", "口令", "://", "-----begin")
_IN_KEYS = re.compile("[0-9_-]")
_DIGIT = re.compile("[0-9]")
_NUMBER = re.compile(r"(?:[0-9][ ().-]{0,2}){7}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{16}")
_TOKEN = re.compile(r"[A-Za-z0-9_=-]{20,}")


def may_have_key(text: str) -> bool:
    """Whether it is worth looking for keys and passwords: the text has a long token or assigns one."""
    if not _IN_KEYS.search(text):
        return "AKIA" in text or "ASIA" in text or "AIza" in text
    if max(map(len, text.split()), default=0) >= 16 and _KEY.search(text):
        return True
    lower = text.lower()
    for word in _WORDS:
        if word in lower:
            return bool(_ASSIGNED.search(text))
    return False


def may_have_number(text: str) -> bool:
    """Whether it is worth looking for numbers of telephones, cards and people."""
    return bool(_NUMBER.search(text))


def rule_of(kind: str) -> str:
    """The lint rule that a kind of secret belongs to."""
    return RULES.get(kind, "secret")


def find(text: str) -> list[Secret]:
    """The secrets in `text`, in order, none overlapping another."""
    return list(found_in(text))


@lru_cache(maxsize=64)
def found_in(text: str) -> tuple[Secret, ...]:
    """`find`, remembered for the last texts: each rule asks for its own kinds."""
    has_digit = bool(_DIGIT.search(text))
    has_key, has_number = may_have_key(text), has_digit and may_have_number(text)
    if not (has_key or has_number or "@" in text):  # nearly every text
        return ()
    found = []
    for kind, pattern in _COMPILED:
        rule = rule_of(kind)
        if not (has_key if rule == "secret" else "@" in text if rule == "email" else has_number):
            continue
        for match in pattern.finditer(text):
            if _is_valid(kind, match[0]):
                found.append(Secret(kind, match.start(), match.end()))
    if has_key and has_digit and _TOKEN.search(text):
        for kind, pattern in _vendors():
            for match in pattern.finditer(text):
                if not _is_placeholder(match[0]):
                    found.append(Secret(kind, match.start(), match.end()))
    kept: list[Secret] = []
    for secret in sorted(found, key=lambda secret: (secret.start, -secret.end)):
        if not kept or secret.start >= kept[-1].end:
            kept.append(secret)
    return tuple(kept)


@cache
def _vendors() -> list[tuple[str, re.Pattern[str]]]:
    """The patterns of detect-secrets, each with its kind; imported here because it takes a tenth of a second."""
    from importlib import import_module

    found = []
    for name in _PLUGINS:
        module, _, detector = name.partition(".")
        plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), detector)()
        found += [(plugin.secret_type, pattern) for pattern in plugin.denylist]
    return found


def mask(text: str, rule: str | None = None) -> str:
    """`text` with every secret (or those of one lint rule) replaced by its kind in brackets."""
    for secret in reversed(find(text)):
        if rule is None or rule_of(secret.kind) == rule:
            text = f"{text[: secret.start]}[{secret.kind}]{text[secret.end :]}"
    return text


def masking(rule: str) -> Callable[[str], str]:
    """`mask` for the kinds of one lint rule."""
    return lambda text: mask(text, rule)


def sentence(secret: Secret) -> str:
    """What a finding says of a secret."""
    article = "an" if secret.kind[0].lower() in "aeio" else "a"
    return f"contains what looks like {article} {secret.kind} at {secret.start}"


def scan(pairs: Iterable[PairLike]) -> list[Finding]:
    """Where many pairs contain secrets."""
    return [finding for pair in pairs for finding in scan_texts(pair.uid, texts(pair))]


def scan_texts(uid: str, texts: Iterable[tuple[str, str]]) -> list[Finding]:
    """Where the named texts of one row contain secrets."""
    return [
        Finding(
            uid, rule_of(secret.kind), field, sentence(secret), level_of(secret.kind), secret.start, secret.end, True
        )
        for field, text in texts
        for secret in find(text)
    ]


def level_of(kind: str) -> Level:
    """How bad it is to teach a kind of secret; keys that detect-secrets knows are as bad as it gets."""
    return _LEVELS.get(kind, "error")


# -- checks ------------------------------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(
    r"your|example|changeme|change_me|placeholder|dummy|sample|insert|replace|xxxx|\*\*\*|\.\.\.|<|>|\$\{|\{\{"
    r"|os\.|env|getenv|process\.|config"
    r"|my_?(?:secret|password|key|token)|passw?or?d\d{0,4}!?[\"']?$|(?:0123456|1234567|abcdef)|(.)\1{5,}|test"
    r"|fake|redacted|todo|\(|hash|secret_?key",
    re.IGNORECASE,
)
_NO_ADDRESS = re.compile(
    r"@(?:[\w-]+\.)*(?:[\w-]*example[\w-]*|domain|yourdomain|mydomain|company|yourcompany|email|test|mail|website|site|foo"
    r"|bar|abc|xyz|sample|acme|school|business)"
    r"\.(?:com|org|net|edu|co|io|test|cn)\b|@(?:[\w-]+\.)*(?:example|invalid|localhost|test|local)$|^(?:git"
    r"|npm|noreply|no-reply|your|user|name|email|someone|username)\b"
    r"|@\d+x?\.(?:png|jpe?g|svg|webp)$",
    re.IGNORECASE,
)
_NO_LINE = re.compile(
    r"555[ .-]?\d{4}$|555\)?[ .-]?\d{3}|(?:\b|\()8(?:00|33|44|55|66|77|88)\)?[ .-]|123[ .-]?456|(\d)\1{6,}"
)
_CARD_SHAPES = re.compile(r"\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|3\d{3}([ -])\d{6}\2\d{5}")
_CARD_BRANDS = re.compile(
    r"4\d{15}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}|35(?:2[89]|[3-8]\d)\d{12}"
)


def _is_placeholder(text: str) -> bool:
    return bool(_PLACEHOLDER.search(text))


def _is_valid(kind: str, text: str) -> bool:
    """Whether a match passes its kind's check: a checksum, or that it is no placeholder."""
    check = _CHECKS.get(kind)
    return check is None or check(text)


def _is_card(text: str) -> bool:
    from stdnum import luhn

    digits = re.sub(r"\D", "", text)
    if not _CARD_SHAPES.fullmatch(text) or not _CARD_BRANDS.fullmatch(digits) or len(set(digits)) < 2:
        return False
    return luhn.is_valid(digits)


def _is_account(text: str) -> bool:
    from stdnum import iban

    return iban.is_valid(text, check_country=False)


def _is_identity_card(text: str) -> bool:
    from stdnum.cn import ric

    return ric.is_valid(text)


def _is_social_security(text: str) -> bool:
    from stdnum.us import ssn

    return ssn.is_valid(text) and text not in ("123-45-6789", "111-11-1111")


def _is_key(text: str) -> bool:
    return not re.search(r"your|example|xxxx|(.)\1{7,}|\*\*\*|placeholder|<", text, re.IGNORECASE)


def _is_password(text: str) -> bool:
    value = re.split(r"[:：=是为]", text, maxsplit=1)[1].strip(" \"'")
    return not _is_placeholder(value)


def _is_login(text: str) -> bool:
    user, _, password = text.partition("://")[2].rpartition("@")[0].partition(":")
    plain = ("password", "pass", "passwd", "pw", "pwd", "secret", "token", "user", "username", user.lower())
    return password.lower() not in plain and not _is_placeholder(text.rpartition("@")[0])


_CHECKS: dict[str, Callable[[str], bool]] = {
    "card number": _is_card,
    "bank account": _is_account,
    "identity card number": _is_identity_card,
    "social security number": _is_social_security,
    "phone number": lambda text: not _NO_LINE.search(text) and sum(map(str.isdigit, text)) <= 13,
    "e-mail address": lambda text: not _NO_ADDRESS.search(text),
    "password": _is_password,
    "address with a password": _is_login,
    "bearer token": lambda text: not _is_placeholder(text),
    "API key": _is_key,
    "AWS key": _is_key,
    "GitHub token": _is_key,
    "Hugging Face token": _is_key,
    "web token": _is_key,
}
