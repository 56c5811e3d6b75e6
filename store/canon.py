"""One spelling for one content: canonical JSON, content hashes, and ids that sort by time.
Pure functions; nothing here touches a disk or the database."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from store.records import Message

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u to misread
_TWO = [one + other for one in _ALPHABET for other in _ALPHABET]
_RANDOM_BITS = 18
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_quoted = json.encoder.encode_basestring
_parts = json.encoder.c_make_encoder and json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, _ENCODER.default, _quoted, None, ":", ",", True, False, False
)
"""What `JSONEncoder.encode` makes again for each call, which takes most of its time for a small object."""
_lock = threading.Lock()
_last_uid = 0


def canonical(obj: Any) -> str:
    """`obj` as JSON with sorted keys, no spaces and real characters: equal values give equal text.

    ValueError on NaN.
    """
    return "".join(_parts(obj, 0)) if _parts else _ENCODER.encode(obj)


def sha256(data: str | bytes) -> str:
    """The SHA-256 of `data` (text as UTF-8), 64 hexadecimal digits."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def content_hash(messages: Sequence[Message]) -> str:
    """The hash that is equal for equal conversations: of roles, contents and weights of 0, nothing else."""
    # As canonical() writes it, in half the time: an import does this for every row.
    said = [said_by(m["role"], m["content"], trained=m.get("weight") != 0) for m in messages]
    return hash_of(said)


def said_by(role: str, content: str, *, trained: bool = True) -> str:
    """One message as `content_hash` writes it."""
    return f"[{_quoted(role)},{_quoted(content)}{'' if trained else ',0'}]"


def hash_of(said: Iterable[str]) -> str:
    """The `content_hash` of messages that `said_by` wrote."""
    return sha256(f"[{','.join(said)}]")


def new_uid() -> str:
    """12 characters: 42 bits of UTC milliseconds, then 18 random bits.

    Rises strictly within a process, also in bulk.
    """
    return new_uids(1)[0]


def new_uids(n: int) -> list[str]:
    """`n` uids in a row, the first as `new_uid` makes it and each one higher than the one before."""
    global _last_uid
    with _lock:
        fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        first = fresh if fresh > _last_uid else _last_uid + 1
        _last_uid = first + n - 1
    return [_spelled(value) for value in range(first, first + n)]


def _spelled(value: int) -> str:
    two = _TWO
    return (
        two[value >> 50 & 1023]
        + two[value >> 40 & 1023]
        + two[value >> 30 & 1023]
        + two[value >> 20 & 1023]
        + two[value >> 10 & 1023]
        + two[value & 1023]
    )
