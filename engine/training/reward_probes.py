"""Rewards from probes: an answer to a question that probes ask earns what their judge says of it, from 0 to 1.
Reads and checks the sets and finds the rows whose questions they ask; what a run keeps of them is rewards.py's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.evaluation import judges
from engine.training import watched_probes
from store.db import Store
from store.errors import BadInput
from store.formats import unfilled
from store.records import Message, Probe, SnapshotRow

_CHOOSE = "Name built-in sets, sets of yours or files, separated by commas: --reward-probes facts,extra.jsonl"


class RewardProbes:
    """Probe sets by name, and which of their probes ask what a row asks."""

    def __init__(self, sets: Mapping[str, Sequence[Probe]]) -> None:
        self.sets = {name: list(probes) for name, probes in sets.items()}
        self._asking: dict[str, list[Probe]] = {}
        for probe in (each for probes in self.sets.values() for each in probes):
            self._asking.setdefault(_plain(probe.question), []).append(probe)

    def asking(self, prompt: Sequence[Message]) -> list[Probe]:
        """The probes whose question is that of a prompt, word for word but for white space. A prompt with earlier turns
        asks something else; a probe with a system text asks only where the prompt has the same one.

        >>> found = RewardProbes({"p": [Probe("p", "Who  are you?", ("Ember",))]})
        >>> len(found.asking([{"role": "user", "content": "Who are you?"}]))
        1
        """
        system, turns = "", list(prompt)
        if turns and turns[0]["role"] == "system":
            system = _plain(turns.pop(0)["content"])
        if len(turns) != 1:
            return []
        found = self._asking.get(_plain(turns[0]["content"]), [])
        return [probe for probe in found if not probe.system or _plain(probe.system) == system]

    def score(self, prompt: Sequence[Message], answer: str) -> float:
        """What an answer earns: the mean of what the probes that ask the prompt give it. ValueError without one."""
        found = self.asking(prompt)
        if not found:
            raise ValueError("no probe asks this prompt")
        return sum(_judged(probe, answer) for probe in found) / len(found)

    def asked(self, rows: Sequence[SnapshotRow]) -> tuple[list[SnapshotRow], list[str]]:
        """The rows without those to train on that no probe asks, and sentences on what is left out on either side.
        BadInput when no row is left."""
        train = [row for row in rows if row.split == "train"]
        found = {row.ord: self.asking(row.messages[:-1]) for row in train}
        without = sum(not probes for probes in found.values())
        named = ", ".join(self.sets)
        if train and without == len(train):
            many = "the only prompt" if without == 1 else f"any of the {without} prompts"
            raise BadInput(
                f"No probe of {named} asks {many}: no answer could be rewarded.",
                where="reward_probes",
                todo="Ask what the probes ask: the questions of the dataset's pairs must be theirs, word for word.",
            )
        used = {id(probe) for probes in found.values() for probe in probes}
        idle = sum(id(probe) not in used for probes in self.sets.values() for probe in probes)
        notes = []
        if without:
            many = f"{without} of {len(train)} prompts {'has' if without == 1 else 'have'} no probe in {named}"
            notes.append(f"{many} and {'is' if without == 1 else 'are'} left out.")
        if idle:
            total = sum(map(len, self.sets.values()))
            does = "asks nothing that the dataset asks, and rewards" if idle == 1 else ""
            does = does or "ask nothing that the dataset asks, and reward"
            notes.append(f"{idle} of {total} probes {does} no answer.")
        return [row for row in rows if row.split != "train" or found[row.ord]], notes


def settled(text: str) -> str:
    """The sets with files as absolute paths. BadInput when nothing is named."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or watched_probes.NONE in words:
        raise BadInput("No probe set is named that could reward.", where="reward_probes", todo=_CHOOSE)
    return watched_probes.absolute(text)


def read(store: Store, text: str, rows: Sequence[SnapshotRow]) -> tuple[RewardProbes, list[str]]:
    """The probes that reward answers to these rows, and sentences on sets that could not be taken.

    NotFound or BadInput for a set or file that does not exist or cannot be read, and for a probe that cannot judge.
    """
    sets, notes = watched_probes.read(store, text, rows, _check)
    if not sets:
        raise BadInput("No probe is left that could reward.", where="reward_probes", todo=" ".join(notes) or _CHOOSE)
    for name, probes in sets.items():
        for number, probe in enumerate(probes, 1):
            _check(probe, f"{name}, probe {number}")
    return RewardProbes(sets), notes


def _check(probe: Probe, where: str) -> None:
    name = probe.judge or judges.DEFAULT.name
    if name not in judges.BY_TEXT:
        raise BadInput(
            f"This probe is judged by {name!r}; only a judge that asks no model rewards: {', '.join(judges.BY_TEXT)}.",
            where=where,
            todo="Name another set, or let a model judge all answers: --reward-judge REF",
        )
    try:
        judges.JUDGES[name].check(probe)
    except BadInput as error:
        raise BadInput(error.what, where=where, todo=error.todo) from None
    if missing := unfilled("\n".join((probe.question, probe.system, *probe.must, *probe.must_not))):
        what = f"The placeholder {{{{{missing[0]}}}}} of a probe has no value."
        raise BadInput(what, where=where, todo="Write the text itself: what rewards a run is not filled in.")


def _judged(probe: Probe, answer: str) -> float:
    return judges.BY_TEXT[probe.judge or judges.DEFAULT.name](probe, answer).score or 0.0


def _plain(text: str) -> str:
    return " ".join(text.split())
