"""Figures of a report as words, the same on the command line, on the screen and in files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def value_words(value: Mapping[str, Any], metric: Mapping[str, Any]) -> str:
    """`0.412 (0.358 to 0.466)`; `-` where nothing could be measured."""
    if value["value"] is None:
        return "-"
    digits = metric["digits"]
    return f"{value['value']:.{digits}f} ({value['low']:.{digits}f} to {value['high']:.{digits}f})"


def difference_words(difference: Mapping[str, Any], metric: Mapping[str, Any]) -> str:
    """`+0.121, p 0.002, better`; whether it is better, worse or within noise only for metrics that have a direction."""
    said = f"{difference['difference']:+.{metric['digits']}f}, p {p_words(difference['p'])}"
    if metric["better"] == "neither":
        return said
    return f"{said}, {verdict_word(difference)}"


def verdict_word(difference: Mapping[str, Any]) -> str:
    """better, worse, or could be chance."""
    if difference["better"] is None:
        return "could be chance"
    return "better" if difference["better"] else "worse"


def p_words(p: float) -> str:
    """`0.03`, `0.0005`."""
    return f"{p:.2f}" if p >= 0.01 else f"{p:.1g}"
