"""A model that rewards answers, asked over the home's chat server as an evaluation asks: local models and endpoints
alike, with the key where the server has it. What it is asked and how a reply is read is engine.training.reward_judge's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.evaluation.structured_replies import too_long
from engine.inference.client import Client
from engine.inference.sampling import Sampling
from engine.training import reward_judge
from engine.training.prompts import Prompt
from engine.training.worker.contracts import Reporter
from store.errors import BadInput, ServerError, TuningforkError
from store.home import Home

AT_ONCE = 4
"""Answers that are judged at once: as many as the chat server answers at once."""
TRIES = 3
PAUSE_S = 2.0
"""Seconds before a failed question is asked again."""
MUTE_STEPS = 3
"""Steps in a row without one reply that can be read, after which a judge is of no use."""
_LONGEST_REPLY = 1024
"""Tokens of a reply: a score takes few, a model that thinks aloud takes more."""
_SHOWN = 80
_TRIAL = Prompt([{"role": "user", "content": "What is two and two?"}], [], "Four.")


class JudgeReward:
    """The judge of a run: call it for the rewards of answers, and `end` it. Connects, and asks a first question, when
    it is made: a judge that cannot be asked fails the run before it loads a model."""

    def __init__(self, home: Home, model: str, rubric: str, reporter: Reporter) -> None:
        self._model, self._rubric, self._reporter = model, rubric, reporter
        self._sampling = Sampling(max_tokens=_LONGEST_REPLY, json_schema=reward_judge.SCHEMA)
        self._scored = self._unread = self._refused = self._mute = 0
        self._why = ""  # the first answer was refused
        self._loop = asyncio.Runner()
        try:
            self._client = self._loop.run(Client.connect(home))
            self._loop.run(self._first())
        except BaseException:
            self._loop.close()
            raise

    def __call__(
        self, asked: Sequence[Prompt], answers: Sequence[str], goes_on: Callable[[], None] = lambda: None
    ) -> list[float | None]:
        """What each answer earns, from 0 to 1; None where the judge's reply cannot be read or the answer cannot be
        shown to it. ServerError when it fails three times in a row, or gives no score in three steps in a row."""
        texts = [self._text(each, answer) for each, answer in zip(asked, answers, strict=True)]
        replies = self._loop.run(self._replies(list(dict.fromkeys(texts)), goes_on))
        found: list[float | None] = []
        for text in texts:
            reply = replies[text]
            value = reward_judge.score(reply) if reply is not None else None
            self._scored += value is not None
            self._refused += reply is None
            if reply is not None and value is None:
                if not self._unread:
                    self._reporter.say(f"A reply of the judge cannot be read: {reply[:_SHOWN]!r}", level="warning")
                self._unread += 1
            found.append(value)
        self._mute = 0 if any(value is not None for value in found) else self._mute + 1
        if self._mute == MUTE_STEPS:
            raise ServerError(
                f"The judge {self._model} gave no score in {MUTE_STEPS} steps in a row.",
                todo="Train with another judge: one that follows the rubric and replies as it is told.",
            )
        return found

    def end(self) -> None:
        """Say what was judged, and let the server go."""
        total = self._scored + self._unread + self._refused
        parts = [f"{self._unread} replies could not be read"] if self._unread else []
        if self._refused:
            parts.append(f"{self._refused} answers could not be shown to it ({self._why.rstrip('.')})")
        text = f"The judge gave {self._scored} of {total} answers a score."
        if parts:
            text += f" {' and '.join(parts)}: these count as the mean of their group, and taught nothing."
        self._reporter.say(text, level="warning" if parts else "info")
        try:
            self._loop.run(self._client.close())
        finally:
            self._loop.close()

    def _text(self, asked: Prompt, answer: str) -> str:
        return reward_judge.prompt(asked.messages, answer, asked.expected, self._rubric)

    async def _first(self) -> None:
        """Load the judge and learn whether it takes a schema: all later replies come about in the same way."""
        self._reporter.say(f"Asking the judge {self._model}", phase="loading")
        await self._client.load(self._model)
        text = self._text(_TRIAL, _TRIAL.expected)
        try:
            await self._ask(text)
        except TuningforkError as error:
            if too_long(error):
                raise BadInput(
                    f"The judge {self._model} cannot be shown a first question: {error.what}",
                    where="reward_judge",
                    todo="Train with a shorter rubric, or with a judge of a longer context.",
                ) from error
            self._sampling = replace(self._sampling, json_schema=None)
            await self._reply(text, asyncio.Semaphore(1))

    async def _replies(self, texts: Sequence[str], goes_on: Callable[[], None]) -> dict[str, str | None]:
        """The reply to each text; `goes_on` is called after each. The first failure that lasts ends the others."""
        places = asyncio.Semaphore(AT_ONCE)
        tasks = [asyncio.ensure_future(self._reply(text, places)) for text in texts]
        for task in tasks:
            task.add_done_callback(lambda done: None if done.cancelled() or done.exception() else goes_on())
        try:
            return dict(zip(texts, await asyncio.gather(*tasks), strict=True))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _reply(self, text: str, places: asyncio.Semaphore) -> str | None:
        """The reply to a text, asked three times if need be; None when the text cannot be shown to the judge."""
        for left in reversed(range(TRIES)):
            try:
                async with places:
                    return await self._ask(text)
            except TuningforkError as error:
                if too_long(error):
                    self._why = self._why or error.what
                    return None
                if not left:
                    raise ServerError(
                        f"The judge {self._model} failed {TRIES} times in a row: {error.what}",
                        where=error.where,
                        todo="See that its server runs, then resume the run.",
                    ) from error
            await asyncio.sleep(PAUSE_S)
        raise AssertionError

    async def _ask(self, text: str) -> str:
        done = await self._client.complete(self._model, [{"role": "user", "content": text}], self._sampling)
        if done.stop == "error":
            raise ServerError(done.error or "Its reply broke off.", todo="Try again.")
        return done.text
