"""Probes put to a model: read from a file, asked one after the other, each answer scored by its judge.
Probe sets and results are kept by store.probe_sets and store.evals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.evaluation import judges
from engine.evaluation.client import CompletionClient
from engine.evaluation.judges import Judge, Judgement
from engine.evaluation.judges.model import ModelJudge
from engine.inference.sampling import Sampling
from engine.models import refs
from store import evals, probe_files
from store.canon import canonical, sha256
from store.db import Store
from store.errors import BadInput, ServerError
from store.formats import fill
from store.records import Message, Probe


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """One probe's outcome: the question, the whole answer, and what the judge said: passed, score (0 to 1), reason.
    `passed` and `score` are None where the answer was not judged."""

    question: str
    text: str
    passed: bool | None
    score: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How a model did on a set: `passed` of the `of` answers that were judged, by `judge` (names, where the set has
    several), and every answer in the order of the probes; those of one probe to several seeds stand together."""

    model: str
    passed: int
    of: int
    items: list[ProbeOutcome]
    judge: str = judges.DEFAULT.name

    @property
    def not_judged(self) -> int:
        """How many answers count neither as passed nor as failed."""
        return len(self.items) - self.of


class ProbeJudges:
    """The judges of a set as one: the one that a probe names, `default` for a probe that names none; `model` stands
    for the judge that asks a model."""

    def __init__(self, default: Judge = judges.DEFAULT, model: ModelJudge | None = None) -> None:
        self._default, self._model = default, model
        self.name, self.help = default.name, default.help

    def of(self, probe: Probe) -> Judge:
        """The judge of this probe. BadInput for a name of none."""
        name = probe.judge or self._default.name
        if self._model is not None and name == self._model.name:
            return self._model
        return self._default if name == self._default.name else judges.named(name)

    def asks(self, probe: Probe) -> bool:
        """Whether a model judges the answers to this probe."""
        return isinstance(self.of(probe), ModelJudge)

    def basis(self, probes: Sequence[Probe]) -> dict[str, str]:
        """What a model judges by, as kept with a result: results are comparable where it is the same. Empty where no
        model judges."""
        model, judged = self._model, [probe for probe in probes if self.asks(probe)]
        if model is None or not judged:
            return {}
        by = [[model.rubric_of(each), each.reference, each.pass_at] for each in judged]
        return {"judge_model": model.model, "rubric": sha256(canonical(by))[:16]}

    def names(self, probes: Sequence[Probe]) -> str:
        """The names of the judges of a set, in their order."""
        return ", ".join(sorted({self.of(probe).name for probe in probes}))

    def check(self, probe: Probe) -> None:
        """BadInput when its judge cannot judge the probe, or reads no rubric and the probe has one."""
        judge = self.of(probe)
        judge.check(probe)
        if probe.rubric and not isinstance(judge, ModelJudge):
            what = f"The probe has a rubric, and its judge {judge.name} reads none."
            raise BadInput(what, todo='Write "judge": "model" there, or remove the rubric.')

    async def judge(self, probe: Probe, answer: str, client: CompletionClient) -> Judgement:
        """What the judge of the probe says."""
        return await self.of(probe).judge(probe, answer, client)


def load(path: Path, judge: Judge | ProbeJudges = judges.DEFAULT) -> list[Probe]:
    """Read a JSONL file of probes, one per line (see `store.probe_files.read`). `judge` is for probes that name none.

    Raises BadInput naming file and line for what cannot be read, or cannot be judged; nothing is skipped but blank
    lines.
    """
    return probe_files.read(path, checking(judge))


def checking(judge: Judge | ProbeJudges) -> Callable[[Probe, str], None]:
    """What checks a probe of a file or a set: BadInput, with where it stands, when it cannot be judged."""
    every = _every(judge)

    def check(probe: Probe, where: str) -> None:
        try:
            every.check(probe)
        except BadInput as error:
            raise BadInput(error.what, where=where, todo=error.todo) from None

    return check


def _every(judge: Judge | ProbeJudges) -> ProbeJudges:
    return judge if isinstance(judge, ProbeJudges) else ProbeJudges(judge)


def filled(probes: Sequence[Probe], variables: Mapping[str, str]) -> list[Probe]:
    """The probes with their placeholders replaced."""
    return [
        replace(
            each,
            question=fill(each.question, variables),
            system=fill(each.system, variables),
            rubric=fill(each.rubric, variables),
            reference=fill(each.reference, variables),
            must=tuple(fill(text, variables) for text in each.must),
            must_not=tuple(fill(text, variables) for text in each.must_not),
        )
        for each in probes
    ]


async def run(
    client: CompletionClient,
    model: str,
    probes: Sequence[Probe],
    sampling: Sampling,
    on_progress: Callable[[int, int], None] | None = None,
    judge: Judge | ProbeJudges = judges.DEFAULT,
    seeds: int = 1,
    on_outcome: Callable[[ProbeOutcome], None] | None = None,
) -> ProbeResult:
    """Ask every probe as a conversation of its own, with `seeds` seeds from that of `sampling` on. `on_progress` gets
    how many are done, and of how many; `on_outcome` each outcome.

    Raises what the server refuses the model with, ServerError when an answer breaks off, and what the judge raises.
    """
    every = _every(judge)
    items: list[ProbeOutcome] = []
    for probe, seed in ((probe, sampling.seed + n) for probe in probes for n in range(seeds)):
        system: list[Message] = [{"role": "system", "content": probe.system}] if probe.system else []
        done = await client.complete(
            model, [*system, {"role": "user", "content": probe.question}], replace(sampling, seed=seed)
        )
        if done.stop == "error":
            raise ServerError(done.error or "The answer broke off.", todo="Try again.")
        said = await every.judge(probe, done.text, client)
        items.append(ProbeOutcome(probe.question, done.text, said.passed, said.score, said.reason))
        if on_outcome:
            on_outcome(items[-1])
        if on_progress:
            on_progress(len(items), len(probes) * seeds)
    judged = [item.passed for item in items if item.passed is not None]
    return ProbeResult(model, sum(judged), len(judged), items, every.names(probes))


def keep(
    store: Store,
    result: ProbeResult,
    name: str,
    sampling: Sampling,
    basis: Mapping[str, str],
    *,
    seeds: int = 1,
    consistency: float | None = None,
) -> int:
    """Keep a result in the store, and return its number. `name` is what the set was asked as, `basis` is
    `ProbeJudges.basis`."""
    parsed = refs.parse(result.model)
    summary = {"passed": result.passed, "of": result.of, "sampling": sampling.to_json(), **basis}
    if seeds > 1:
        summary["seeds"] = seeds
    if consistency is not None:
        summary["consistency"] = consistency
    return evals.save(
        store, run=parsed.value if parsed.is_run else None, model=result.model, set=name, items=result.items,
        judge=result.judge, summary=summary,
    )  # fmt: skip
