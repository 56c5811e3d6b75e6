"""What a field of a training configuration is: its label, help, range, and how it is read from and written as text.
The fields themselves are the rows of TrainConfig (config.py); command line, Train screen, errors and cards use them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from store.errors import BadInput

Kind = Literal["text", "whole", "number", "flag", "choice", "names"]
Group = Literal["basic", "advanced"]
_SHOWN = 80  # characters of a wrong value that an error repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingField:
    """One field: everything that a form, an option, an error or a card says about it.

    `kind` is what its values are: a text, a whole number, a finite float, True or False, one of `choices()`, or module
    names. Numbers lie from `low` to `high`; with `above_low`, `low` itself is too small. `empty` says what happens
    without a value, and is '' when there must be one. `unit` follows the value in a form. `added_later` marks a field
    that the first release had not; `before` is what runs did until then, if that is not its default. A configuration
    without the field means that, and TrainConfig.to_json leaves the field out when it says that. `how` marks a field
    that says how a run is computed, not what comes out: it may change between attempts, and no hash contains it.
    """

    name: str = ""
    label: str
    help: str
    kind: Kind
    group: Group = "advanced"
    default: Any = None
    unit: str = ""
    low: float = 0
    high: float = math.inf
    above_low: bool = False
    empty: str = ""
    choices: Callable[[], Iterable[str]] = tuple
    added_later: bool = False
    before: Any = None
    how: bool = False

    @property
    def until_added(self) -> Any:
        """What runs did before a field that was added later."""
        return self.default if self.before is None else self.before

    @property
    def range(self) -> str:
        """What a value must be: "a whole number from 1 to 4,096"."""
        wish = {
            "text": "a name",
            "whole": f"a whole number from {self.low:,.0f} to {self.high:,.0f}",
            "number": f"a number {f'above {self.low:g} and at most' if self.above_low else f'from {self.low:g} to'} "
            + f"{self.high:,g}",
            "flag": "true or false",
            "choice": "one of " + ", ".join(self.choices()),
            "names": ("" if self.empty else "all-linear, or ") + "names of modules separated by commas",
        }[self.kind]
        return f"{wish}, or empty: {self.empty}" if self.empty else wish

    def allows(self, value: Any) -> bool:
        """Whether a configuration may hold this value."""
        if value is None:
            return bool(self.empty)
        match self.kind:
            case "whole":
                return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
            case "number":
                above = isinstance(value, float) and (self.low < value if self.above_low else self.low <= value)
                return above and math.isfinite(value) and value <= self.high
            case "flag":
                return isinstance(value, bool)
            case "choice":
                return isinstance(value, str) and value in self.choices()
            case "names" if isinstance(value, tuple) or self.empty:
                return isinstance(value, tuple) and bool(value) and all(isinstance(n, str) and n for n in value)
            case _:
                return isinstance(value, str) and bool(value.strip())

    def require(self, value: Any) -> None:
        """Raise BadInput with this field's label and range unless it allows the value; `where` is the field's name."""
        if not self.allows(value):
            raise self._refused(value)

    def _refused(self, value: Any) -> BadInput:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        shown = "empty" if value is None else self.format(value) if plain else repr(value)
        shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
        return BadInput(f"{self.label} is {shown}; it must be {self.range}.", where=self.name)

    def parse(self, text: str) -> Any:
        """The value that a user typed. BadInput, as `require` raises it, when it is none that the field allows."""
        text = text.strip()
        value: Any = text
        try:
            if not text:
                value = None
            elif self.kind == "whole":
                value = int(text)
            elif self.kind == "number":
                value = float(text)
            elif self.kind == "flag":
                value = {"true": True, "false": False}[text.lower()]
            elif self.kind == "names" and (self.empty or text != "all-linear"):
                value = tuple(name.strip() for name in text.split(",") if name.strip())
        except (ValueError, KeyError):
            raise self._refused(text) from None
        self.require(value)
        return value

    def format(self, value: Any) -> str:
        """A value as `parse` reads it; a float to six significant digits, small ones as 5e-4."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            if not 0 < abs(value) < 0.01:
                return f"{value:g}"
            digits, _, exponent = f"{value:.5e}".partition("e")
            return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
        return ", ".join(value) if isinstance(value, tuple) else str(value)


def row(default: Any = dataclasses.MISSING, **about: Any) -> Any:
    """A row of TrainConfig: a dataclass field that carries its TrainingField; without a default it must be given."""
    plain = None if default is dataclasses.MISSING else default
    metadata = {"field": TrainingField(default=plain, **about)}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def fields_of(config: type) -> dict[str, TrainingField]:
    """The fields of a class whose rows were made by `row`, by name and in order."""
    return {f.name: dataclasses.replace(f.metadata["field"], name=f.name) for f in dataclasses.fields(config)}
