"""Sets of prompts in Compare: chosen or read from a file, kept, and sent to every lane in a screen of their own.
Reading and asking are in engine.evaluation.prompt_sets."""

from __future__ import annotations

from pathlib import Path

from engine.comparison.stream_runner import Connect
from engine.evaluation import prompt_sets
from engine.evaluation.next_prompts import dataset_questions
from engine.evaluation.prompt_sets import ComparedSide, PromptEntry
from store import probes
from store.db import Store
from store.errors import NotFound
from store.names import name_from
from tui import formatting
from tui.screens.compare.conversation import Conversation
from tui.screens.compare.host import CompareHost
from tui.screens.dialogs.pick import Entry, Pick
from tui.text import one_line

HINT = "Or a file: one prompt per line, or JSONL with prompt (and system). It is kept under its name."
_HERE, _TESTS = "\0here", "\0tests"


class PromptSetController:
    """Many prompts at once."""

    def __init__(self, host: CompareHost, conversation: Conversation, connect: Connect) -> None:
        self._host, self._conversation, self._connect = host, conversation, connect

    async def ask_set(self) -> None:
        """Send a set of prompts to every lane; each prompt by itself, without this conversation."""
        from tui.screens.compare.prompt_answers import Answers

        found = await self.pick("Which prompts to send to every lane?")
        if found is None:
            return
        name, prompts = found
        comparison = self._conversation.comparison
        asked = [PromptEntry(prompt.text, prompt.system or comparison.system) for prompt in prompts]
        sides = [ComparedSide(lane.name, lane.model, lane.few_shot) for lane in comparison.lanes.values()]
        await self._host.tuningfork.push_screen_wait(Answers(name, asked, sides, comparison.sampling, self._connect))

    async def pick(self, title: str, *, tests: bool = False) -> tuple[str, list[PromptEntry]] | None:
        """A set's name and its prompts; None when nothing was chosen. `tests` offers the test questions of the dataset
        in use too."""
        turns = self._conversation.comparison.turns
        kept = await self._host.tuningfork.bridge.call(probes.sets)
        entries = [Entry(name, one_line(name, 40), formatting.count(count, "prompt")) for name, count in kept.items()]
        if turns:
            entries.append(Entry(_HERE, "The prompts of this conversation", formatting.count(len(turns), "prompt")))
        dataset = self._host.tuningfork.settings.dataset
        if tests and dataset:
            asked = await self._host.tuningfork.bridge.call(_test_questions, dataset)
            if asked:
                name = f"Test questions of {one_line(dataset, 40)}"
                entries.append(Entry(_TESTS, name, formatting.count(len(asked), "prompt")))
        picked = await self._host.tuningfork.push_screen_wait(Pick(title, entries, create="Read the file", hint=HINT))
        if picked is None:
            return None
        if picked.value == _HERE:
            name, prompts = name_from(one_line(turns[0].prompt, 40)), [PromptEntry(turn.prompt) for turn in turns]
            await self._host.tuningfork.bridge.call(prompt_sets.keep, name, prompts)
            return name, prompts
        if picked.value == _TESTS:
            return f"test questions of {dataset}", asked
        if picked.new:
            return await self._host.tuningfork.bridge.call(_read_and_keep, picked.value)
        return picked.value, await self._host.tuningfork.bridge.call(prompt_sets.kept, picked.value)


def _test_questions(store: Store, dataset: str) -> list[PromptEntry]:
    """Those that are asked alone; none for a dataset that is gone."""
    try:
        return dataset_questions(store, dataset)[0]
    except NotFound:
        return []


def _read_and_keep(store: Store, typed: str) -> tuple[str, list[PromptEntry]]:
    path = Path(typed).expanduser()
    prompts = prompt_sets.read(path)
    name = name_from(path.name)
    prompt_sets.keep(store, name, prompts)
    return name, prompts
