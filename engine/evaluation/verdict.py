"""Ship or not: the decision of a verdict from measured figures, gate by gate, with the reasons. Pure; asking is
verdict_parts.py's, the file that keeps it verdict_evidence.py's.

A figure that is missing never passes a gate. A difference counts where the interval of the paired difference leaves out
zero, its p is below 0.05, and it is larger than both the noise floor (how far the base is from itself with another
seed) and the gate's tolerance. What must not be lost is judged more strictly: any fall of a suite beyond the larger of
the floor and the tolerance counts, however few its checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.evaluation import suites
from engine.evaluation.gates import Gate, Gates
from engine.evaluation.report_text import p_words
from engine.models.refs import Ref

SURE = 0.05
"""The p below which a difference is no chance."""
GateState = Literal["passed", "failed", "missing", "nothing", "off"]
"""`missing` is a figure that is not there, which counts as failed; `nothing` a gate with nothing to look at, such as
leaks of a run that was taught no name; `off` one that is switched off."""
_TUNE = "Tune it: tuningfork train --help"
_JUDGE_AGAIN = "Change the judge of these rows, and run the verdict again."
GOOD: frozenset[GateState] = frozenset({"passed", "nothing", "off"})


@dataclass(frozen=True, slots=True)
class PairedFigure:
    """The deciding metric of a part, of the run and of the base on the same rows. `difference` is the run's minus the
    base's with its 95% interval and p, `floor` the noise floor; None where it was not measured. Of the answers to the
    `rows`, `not_judged` of the side with the most have no judgement: such a figure counts as not measured."""

    metric: str
    better: str
    digits: int
    rows: int
    run: float | None
    base: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    floor: float | None
    not_judged: int = 0


@dataclass(frozen=True, slots=True)
class LeakFigure:
    """Of `asked` general questions, those that the run answered with a name it was taught and the base did not."""

    names: tuple[str, ...]
    asked: int
    leaked: int
    examples: tuple[tuple[str, str], ...] = ()
    """Question and answer of the first of them."""


@dataclass(frozen=True, slots=True)
class ExportFigure:
    """The newest export of the model. `state` is the export's; `checked` says whether it was verified at all, `why` why
    it failed, `there` whether its file is, `older` whether the run went on after it."""

    id: int
    state: str
    checked: bool
    passed: bool
    why: str = ""
    there: bool = True
    older: bool = False


@dataclass(frozen=True, slots=True)
class VerdictFigures:
    """All that a verdict looks at; None for what was not measured. `missing` says why, by gate, and what to do.
    `teaches` is False for a model whose data shows no name: it has no identity to test and no name to leak;
    `only_name` is True where that is all it teaches, so that its identity is its task."""

    run: str
    task: PairedFigure | None = None
    identity: PairedFigure | None = None
    retention: Mapping[str, PairedFigure | None] = field(default_factory=dict)
    leaks: LeakFigure | None = None
    export: ExportFigure | None = None
    teaches: bool = True
    only_name: bool = False
    missing: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As kept in an evidence file."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> VerdictFigures:
        """What `to_json` made. KeyError or TypeError for anything else."""
        leaks = kept["leaks"]
        if leaks is not None:
            examples = tuple((question, answer) for question, answer in leaks["examples"])
            leaks = LeakFigure(tuple(leaks["names"]), leaks["asked"], leaks["leaked"], examples)
        return cls(
            run=kept["run"],
            task=_paired(kept["task"]),
            identity=_paired(kept["identity"]),
            retention={name: _paired(each) for name, each in kept["retention"].items()},
            leaks=leaks,
            export=None if kept["export"] is None else ExportFigure(**kept["export"]),
            teaches=bool(kept["teaches"]),
            only_name=bool(kept.get("only_name", False)),  # evidence of earlier versions has none
            missing={name: (what, todo) for name, (what, todo) in kept["missing"].items()},
        )


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate found: a sentence, and what to do where it does not pass."""

    gate: str
    state: GateState
    said: str
    todo: str = ""

    @property
    def good(self) -> bool:
        """Whether it stands in nobody's way."""
        return self.state in GOOD


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict: what every gate found, in the order of `gates.KINDS`."""

    results: tuple[GateResult, ...]

    @property
    def ship(self) -> bool:
        """Whether every gate stands open, and at least one of them was passed by a figure."""
        return all(each.good for each in self.results) and any(each.state == "passed" for each in self.results)

    @property
    def word(self) -> str:
        return "SHIP" if self.ship else "DON'T SHIP"

    @property
    def reasons(self) -> tuple[GateResult, ...]:
        """What stands in the way; for SHIP what was passed."""
        return tuple(each for each in self.results if (each.state == "passed" if self.ship else not each.good))


def decide(found: VerdictFigures, gates: Gates) -> Decision:
    """The verdict on measured figures.

    >>> better = PairedFigure("Token F1", "higher", 3, 40, 0.71, 0.42, 0.29, 0.2, 0.38, 0.001, 0.05)
    >>> same = PairedFigure("Passed", "higher", 3, 40, 0.9, 0.925, -0.025, -0.1, 0.05, 1.0, 0.05)
    >>> figures = VerdictFigures("run:x", better, retention={name: same for name in suites.NAMES}, teaches=False)
    >>> from dataclasses import replace
    >>> found = decide(replace(figures, export=ExportFigure(1, "done", True, True)), Gates())
    >>> found.word, [each.state for each in found.results]
    ('SHIP', ['passed', 'nothing', 'passed', 'nothing', 'passed'])
    >>> decide(figures, Gates()).reasons[0].gate
    'export'
    """
    results = []
    for name, judge in (
        ("task", _task), ("identity", _identity), ("retention", _retention), ("leaks", _leaks), ("export", _export),
    ):  # fmt: skip
        results.append(judge(found, gates[name]) if gates[name].on else GateResult(name, "off", "Switched off."))
    return Decision(tuple(results))


def _task(found: VerdictFigures, gate: Gate) -> GateResult:
    if found.task is None and found.only_name:
        said = "The data teaches a name alone, beside general rows of Tuningfork: identity is its task."
        return GateResult("task", "nothing", said)
    ref = Ref.read(found.run)
    todo = f"Improve the data or train longer: tuningfork diagnose {ref.value}" if ref.is_run else _TUNE
    return _better("task", found.task, gate, found, todo)


def _identity(found: VerdictFigures, gate: Gate) -> GateResult:
    if found.identity is None and not found.teaches:
        what = "The run's data teaches no name" if Ref.read(found.run).is_run else "No name is given"
        return GateResult("identity", "nothing", f"{what}, so there is no identity to test.")
    todo = "Add wordings: tuningfork forecast --dataset NAME" if Ref.read(found.run).is_run else _TUNE
    return _better("identity", found.identity, gate, found, todo)


def _better(name: str, figure: PairedFigure | None, gate: Gate, found: VerdictFigures, todo: str) -> GateResult:
    """Whether the run is better than the base, strictly and beyond noise."""
    if figure is not None and figure.not_judged:
        return GateResult(name, "missing", _not_judged(figure), _JUDGE_AGAIN)
    if figure is None or figure.difference is None or figure.low is None or figure.high is None or figure.p is None:
        return _missing(name, found)
    if figure.floor is None:
        return GateResult(name, "missing", "The noise floor was not measured.", "Run the verdict again.")
    if figure.better not in ("higher", "lower"):
        what = f"{figure.metric} has no better and worse."
        return GateResult(name, "missing", what, "Choose another metric with --metric NAME.")
    sign = -1 if figure.better == "lower" else 1
    said, gain = _words(figure), sign * figure.difference
    if gain == 0:
        return GateResult(name, "failed", f"{said}: the same as the base.", todo)
    if gain < 0:
        return GateResult(name, "failed", f"{said}: not better than the base.", todo)
    if not (sign * (figure.low if sign > 0 else figure.high) > 0 and figure.p < SURE):
        return GateResult(name, "failed", f"{said}: this could be chance on {_rows(figure)}.", todo)
    if gain <= figure.floor:
        floor = f"{figure.floor:.{figure.digits}f}"
        return GateResult(name, "failed", f"{said}: within the noise floor of {floor}.", todo)
    if gain <= (gate.tolerance or 0.0):
        return GateResult(name, "failed", f"{said}: not more than the tolerance of {gate.tolerance:g}.", todo)
    return GateResult(name, "passed", f"{said}: better than the base.")


def _retention(found: VerdictFigures, gate: Gate) -> GateResult:
    lost, unknown, unjudged, kept = list[str](), list[str](), list[str](), list[str]()
    for name in suites.NAMES:
        figure = found.retention.get(name)
        if figure is None or figure.difference is None or figure.floor is None:
            unknown.append(name)
            continue
        if figure.not_judged:
            unjudged.append(f"{name}: {_not_judged(figure)}")
            continue
        most = max(figure.floor, gate.tolerance or 0.0)
        if figure.difference < -most - 1e-9:  # shares of few rows are no exact binary fractions
            lost.append(f"{name} fell: {_words(figure)}, beyond {most:.{figure.digits}f}.")
        else:
            share = "" if figure.run is None else f"{figure.run:.{figure.digits}f} "
            kept.append(f"{name} {share}({figure.difference:+.{figure.digits}f})")
    if lost:
        todo = "Add general pairs to the data (sample:general), train shorter, or lower the strength."
        return GateResult("retention", "failed", " ".join(lost), todo)
    if unjudged:
        return GateResult("retention", "missing", " ".join(unjudged), _JUDGE_AGAIN)
    if unknown:
        what, todo = found.missing.get("retention", ("", "Run the verdict again."))
        return GateResult("retention", "missing", what or f"Not measured: {', '.join(unknown)}.", todo)
    return GateResult("retention", "passed", f"No suite fell beyond the noise floor: {', '.join(kept)}.")


def _leaks(found: VerdictFigures, gate: Gate) -> GateResult:
    figure = found.leaks
    if figure is None and not found.teaches:
        what = "The run's data teaches no name" if Ref.read(found.run).is_run else "No name is given"
        return GateResult("leaks", "nothing", f"{what} that could leak.")
    if figure is None or not figure.asked or not figure.names:
        return _missing("leaks", found)
    named = " or ".join(figure.names)
    said = f"{figure.leaked} of {figure.asked} general questions are answered with {named}"
    if figure.leaked > (gate.tolerance or 0.0) * figure.asked + 1e-9:
        said += f", such as {figure.examples[0][0]!r}." if figure.examples else "."
        todo = "Add general pairs to the data (sample:general, sample:requests), train shorter, or lower the strength."
        return GateResult("leaks", "failed", said, todo)
    return GateResult("leaks", "passed", f"{said}.")


def _export(found: VerdictFigures, gate: Gate) -> GateResult:
    figure = found.export
    if not Ref.read(found.run).is_run:
        return GateResult("export", "missing", f"{found.run} is no run: nothing of it can be exported.", _TUNE)
    make = f"tuningfork export {_typed(found.run)}"
    if figure is None:
        what, todo = found.missing.get("export", (f"There is no export of {found.run} yet.", f"Make one: {make}"))
        return GateResult("export", "missing", what, todo)
    at = f"Export {figure.id}"
    if not figure.passed or figure.state != "done":
        why = f" {figure.why}" if figure.why else ""
        return GateResult("export", "failed", f"{at} failed its verification.{why}", f"Make another one: {make}")
    if not figure.checked:
        return GateResult("export", "missing", f"{at} was not verified.", f"Make one that is: {make}")
    if figure.older:
        return GateResult("export", "failed", f"{at} was made before the run ended.", f"Make it again: {make}")
    if not figure.there:
        return GateResult("export", "failed", f"The files of export {figure.id} are gone.", f"Make it again: {make}")
    return GateResult("export", "passed", f"{at} passed its verification.")


def _missing(name: str, found: VerdictFigures) -> GateResult:
    what, todo = found.missing.get(name, ("It was not measured.", "Run the verdict again."))
    return GateResult(name, "missing", what, todo)


def _not_judged(figure: PairedFigure) -> str:
    return f"{figure.not_judged} of {figure.rows} answers were not judged, so the figure is not known."


def _words(figure: PairedFigure) -> str:
    """`Token F1 0.710, the base 0.420 (+0.290, p 0.001)`."""
    digits = figure.digits
    run, base = (f"{each:.{digits}f}" if each is not None else "-" for each in (figure.run, figure.base))
    p = f", p {p_words(figure.p)}" if figure.p is not None else ""
    return f"{figure.metric} {run}, the base {base} ({figure.difference:+.{digits}f}{p})"


def _rows(figure: PairedFigure) -> str:
    return f"{figure.rows} row{'s'[: figure.rows != 1]}"


def _typed(run: str) -> str:
    """A run as a command takes it: a strength has a sign that shells read."""
    name = Ref.read(run).title
    return f"'{name}'" if "*" in name else name


def _paired(kept: Mapping[str, Any] | None) -> PairedFigure | None:
    return None if kept is None else PairedFigure(**kept)


def names_of(probes: Sequence[Any]) -> tuple[str, ...]:
    """The names that leak probes must not find, each once, in their order."""
    return tuple(dict.fromkeys(term for probe in probes for term in probe.must_not))
