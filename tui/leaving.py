"""The sentence on texts that leave this machine, which the command line and the screens show before anything is sent.
Says it only; asking whether to send is each one's own."""

from __future__ import annotations

from collections.abc import Iterable

from engine.models.refs import Ref


def leaving(what: str, models: Iterable[str]) -> str:
    """`The texts of 3 votes leave this machine for http://host/v1#m.`, for the models that are elsewhere; "" where all
    are here. `what` are the texts, in the plural."""
    away = [ref for ref in dict.fromkeys(models) if Ref.read(ref).is_remote]
    return f"{what} leave this machine for {', '.join(away)}." if away else ""
