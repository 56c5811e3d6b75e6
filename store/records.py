"""Frozen dataclasses that rows of the store become; JSON columns arrive parsed, times are UTC milliseconds.
Nothing here touches the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Role = Literal["system", "user", "assistant"]
Kind = Literal["instruction", "identity"]
Status = Literal["draft", "ready", "rejected"]
Split = Literal["train", "val", "test"]
RunState = Literal["queued", "starting", "running", "stopping", "stopped", "succeeded", "failed", "lost"]
Wanted = Literal["run", "stop", "kill"]
Choice = Literal["a", "b", "tie", "both_bad"]
PreferenceKind = Literal["preference", "feedback"]
ModelKind = Literal["base", "adapter", "gguf", "endpoint"]
Message = dict[str, Any]
"""One chat message: {"role", "content"}, and "weight": 0 on an assistant turn that is context only: it is not trained
(OpenAI's spelling). A message without a weight counts."""

KINDS: tuple[Kind, ...] = get_args(Kind)
STATUSES: tuple[Status, ...] = get_args(Status)
SPLITS: tuple[Split, ...] = get_args(Split)
ROLES: tuple[Role, ...] = get_args(Role)
LIVE_STATES: frozenset[str] = frozenset({"starting", "running", "stopping"})
END_STATES: frozenset[str] = frozenset({"stopped", "succeeded", "failed", "lost"})
_STATE_WORDS = {"succeeded": "done"}


def state_word(state: str) -> str:
    """A run's state as users read it; the store and JSON keep the state itself."""
    return _STATE_WORDS.get(state, state)


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier turn of a conversation. An assistant turn with `train` false is context: read, but not trained."""

    role: Role
    content: str
    train: bool = True

    def message(self) -> Message:
        """The turn as JSON: a weight is written only where it says something, so that rows without one stay equal."""
        plain: Message = {"role": self.role, "content": self.content}
        return plain | {"weight": 0} if self.role == "assistant" and not self.train else plain

    @classmethod
    def of(cls, message: Message) -> Turn:
        """The turn that `message` gives."""
        return cls(message["role"], message["content"], message.get("weight") != 0)


@dataclass(frozen=True, slots=True)
class PairDraft:
    """What becomes a `Pair`, written by hand or read by an import."""

    question: str
    answer: str = ""
    system: str = ""
    history: tuple[Turn, ...] = ()
    kind: Kind = "instruction"
    status: Status = "ready"
    tags: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedDraft(PairDraft):
    """A draft that came with the split that it belongs to; None: that of the import."""

    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One training example. `source` says where it came from: {"file", "line"} or {"chat", "model", "seed"}."""

    id: int
    uid: str
    revision: int
    kind: Kind
    system: str
    history: tuple[Turn, ...]
    question: str
    answer: str
    status: Status
    tags: tuple[str, ...]
    source: dict[str, Any]
    content_hash: str
    created_at: int
    updated_at: int
    deleted_at: int | None = None

    def messages(self) -> list[Message]:
        """The conversation as chat messages, the answer last: what a model is shown."""
        return [{"role": m["role"], "content": m["content"]} for m in self.training_messages()]

    def training_messages(self) -> list[Message]:
        """The same with "weight": 0 on the turns that are context only: what a snapshot freezes."""
        return [turn.message() for turn in turns_of(self)]


def turns_of(pair: Pair | PairDraft) -> list[Turn]:
    """The whole conversation of a pair: system text if any, earlier turns, question, answer."""
    head = [Turn("system", pair.system)] if pair.system else []
    return [*head, *pair.history, Turn("user", pair.question), Turn("assistant", pair.answer)]


@dataclass(frozen=True, slots=True)
class Edit:
    """One thing that was done to the data: the unit of undo.

    `undoes` names the edit that this one undoes; `pairs` counts the pairs and preferences it touched; `permanent` says
    that it cannot be undone.
    """

    id: int
    actor: str
    label: str
    undoes: int | None
    created_at: int
    pairs: int = 0
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named set of pairs, preferences and feedback.

    `pairs` and the splits count live (not deleted) pairs; `ready` those of them with status ready.
    """

    id: int
    name: str
    description: str
    created_at: int
    pairs: int = 0
    ready: int = 0
    train: int = 0
    val: int = 0
    test: int = 0
    preferences: int = 0
    feedback: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A dataset frozen by content hash."""

    id: int
    hash: str
    dataset: str | None
    rows: int
    splits: dict[str, int]
    created_at: int


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One frozen row; `messages` ends with the assistant's answer. `source` is the pair's: {"file", "line"}.

    A preference's answer is the chosen one, and `rejected` the other; feedback's is `good` or not. Both are None for a
    pair.
    """

    ord: int
    split: Split
    kind: Kind | PreferenceKind
    messages: list[Message]
    content_hash: str
    pair_uid: str | None = None
    pair_revision: int | None = None
    source: dict[str, Any] = field(default_factory=dict)
    rejected: str | None = None
    good: bool | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the store knows. `ref` is its model reference."""

    id: int
    ref: str
    kind: ModelKind
    meta: dict[str, Any]
    created_at: int


@dataclass(frozen=True, slots=True)
class Run:
    """One tuning job.

    `config` is a TrainConfig as JSON; `adapter` the folder of the finished adapter, relative to home. `resume_from` is
    the step of the checkpoint that its next or last attempt begins from; `repeats` says of a failure that trying again
    would fail in the same way. `result_step` is the checkpoint that you made its result, None for what training kept;
    `note` what you wrote about it.
    """

    id: int
    uid: str
    name: str
    base: str
    snapshot: str
    method: str
    config: dict[str, Any]
    config_hash: str
    seed: int
    state: RunState
    wanted: Wanted
    step: int
    total_steps: int | None
    error: str | None
    adapter: str | None
    env: dict[str, Any]
    created_at: int
    started_at: int | None
    ended_at: int | None
    resume_from: int | None = None
    repeats: bool = False
    result_step: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One process that worked on a run.

    Alive means host + pid + process start time (`pid_started`, seconds since the epoch).
    """

    id: int
    run_id: int
    n: int
    host: str
    pid: int
    pid_started: float
    token: str
    log_path: str
    resume_from: int | None
    heartbeat_at: int
    progress_at: int
    started_at: int
    ended_at: int | None
    exit: str | None


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run at a step."""

    name: str
    step: int
    value: float | None
    at: int


@dataclass(frozen=True, slots=True)
class Event:
    """A message of a run.

    `level` is info, warning or error; `body` is {"text": ...} and whatever else the kind needs.
    """

    id: int
    run_id: int | None
    level: str
    kind: str
    body: dict[str, Any]
    at: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A resumable state on disk. `manifest` maps file name to {"sha256", "bytes"}; `path` is relative to home."""

    id: int
    run_id: int
    step: int
    path: str
    manifest: dict[str, Any]
    val_loss: float | None
    created_at: int


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation kept in the store. `meta` holds the lanes' model references, system prompt and sampling."""

    id: int
    title: str
    meta: dict[str, Any]
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat tree; `lane` is a, b, … or empty for what both lanes share."""

    id: int
    chat_id: int
    parent_id: int | None
    lane: str
    role: Role
    text: str
    model: str | None
    sampling: dict[str, Any]
    stats: dict[str, Any]
    created_at: int


@dataclass(frozen=True, slots=True)
class Vote:
    """Which lane's answer was better.

    `a_left` says whether lane A was shown on the left; `prompt` is the messages that both answered. `turn` (from 0) of
    the conversation `chat_id` is what was voted on, in one of `lanes` lanes; a blind order follows from `blind_seed`
    and the turn. All of these are None for a vote that was cast outside a conversation. `unblind` are the names of
    either model that the answers of a blind vote showed: with any, it was not blind.
    """

    id: int
    prompt: list[Message]
    a_model: str
    b_model: str
    a_text: str
    b_text: str
    a_left: bool
    blind: bool
    choice: Choice
    sampling: dict[str, Any]
    chat_id: int | None
    turn: int | None
    lanes: int | None
    blind_seed: int | None
    created_at: int
    unblind: list[str]


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers to one prompt, one preferred.

    `source` is {"vote", "chosen", "rejected"} (the models) or {"file", "line"}.
    """

    prompt: list[Message]
    chosen: str
    rejected: str
    source: dict[str, Any]
    created_at: int


@dataclass(frozen=True, slots=True)
class PreferenceDraft:
    """A preference that an import hands in; `prompt` ends with the user's message."""

    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Feedback:
    """One answer that was judged: `good` for a thumbs-up, else a thumbs-down. `prompt` ends with a question.

    `source` is {"file", "line"}.
    """

    id: int
    uid: str
    prompt: list[Message]
    answer: str
    good: bool
    dataset: str | None
    split: Split
    source: dict[str, Any]
    created_at: int


@dataclass(frozen=True, slots=True)
class FeedbackDraft:
    """A judged answer that an import hands in; `prompt` ends with the user's message."""

    prompt: tuple[Turn, ...]
    answer: str
    good: bool
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A preference or feedback as a row of a dataset: a prompt that ends with the user's message, a good answer
    (`chosen`), a bad one (`rejected`), or both. Feedback has one of them.
    """

    kind: PreferenceKind
    uid: str
    prompt: list[Message]
    chosen: str | None
    rejected: str | None
    dataset: str | None
    split: Split
    source: dict[str, Any]
    created_at: int

    def texts(self) -> list[tuple[str, str]]:
        """Every text with the name of its field: prompt[0] …, chosen, rejected."""
        answers = [("chosen", self.chosen), ("rejected", self.rejected)]
        turns = [(f"prompt[{n}]", message["content"]) for n, message in enumerate(self.prompt)]
        return [*turns, *((name, text) for name, text in answers if text is not None)]


@dataclass(frozen=True, slots=True)
class VoteCounts:
    """The votes between two models, however the lanes were placed: wins of each, ties, both bad.

    Of all of them `blind` were cast without knowing the models, and `unblind` in blind mode but with a model's name in
    an answer; the rest were cast with the names shown.
    """

    a_model: str
    b_model: str
    a: int
    b: int
    tie: int
    both_bad: int
    blind: int = 0
    unblind: int = 0

    @property
    def all(self) -> int:
        """How many votes these are."""
        return self.a + self.b + self.tie + self.both_bad


@dataclass(frozen=True, slots=True)
class Probe:
    """A question and what a good answer must (any of `must`) and must not (none of `must_not`) contain, compared
    case-folded. Probes with the same text in `same` ask for the same facts in other words.

    `judge` names what decides whether an answer passes, "" leaves that to who asks. A model that judges goes by
    `rubric` ("" for the one it comes with) and `reference`, a good answer; from the score `pass_at` on an answer
    passes. Sets kept in the store have none of these, nor `same`.
    """

    set: str
    question: str
    must: tuple[str, ...]
    must_not: tuple[str, ...] = ()
    system: str = ""
    same: str = ""
    judge: str = ""
    rubric: str = ""
    reference: str = ""
    pass_at: int | None = None


@dataclass(frozen=True, slots=True)
class EvalItem:
    """One probe's answer, whether it passed (None: it was not judged), its score from 0 to 1 (None where it is not
    known) and why."""

    question: str
    text: str
    passed: bool | None
    score: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Eval:
    """One model's answers to a probe set and their scores: `passed` of the `of` that were judged.

    `run` names the run it was made for, if any; `judge` is the judge's name; `summary` is what the engine noted. The
    `not_judged` answers count neither as passed nor as failed.
    """

    id: int
    run: str | None
    model: str
    set: str
    passed: int
    of: int
    summary: dict[str, Any]
    judge: str
    created_at: int
    not_judged: int = 0


@dataclass(frozen=True, slots=True)
class Export:
    """A file or folder made from a run.

    `state` is working, done, rejected or failed; `verification` the report of its checks (the column `proof`).
    """

    id: int
    run: str
    step: int | None
    format: str
    quant: str | None
    path: str
    state: str
    sha256: str | None
    bytes: int | None
    verification: dict[str, Any]
    error: str | None
    created_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is. `part` names which of several things it works on, `stage` what it does with it, `text` the
    details; `done` of `total` (0: not known) and `seconds_left` count within the stage."""

    part: str = ""
    stage: str = ""
    text: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None

    @property
    def share(self) -> float | None:
        """From 0 to 1; None when the total is not known."""
        return min(1.0, self.done / self.total) if self.total else None


@dataclass(frozen=True, slots=True)
class Job:
    """Long work in a process of its own. `kind` is export, import, …; `name` what it is about, such as a run's name.

    `module` is what `python -m` runs and `request` what it works on; `token` lets that process alone write. `result` is
    what a job that succeeded made, `error` the fields of the error of one that failed or was lost.
    """

    id: int
    kind: str
    name: str
    module: str
    request: dict[str, Any]
    state: RunState
    wanted: Wanted
    host: str | None
    pid: int | None
    pid_started: float | None
    token: str
    log_path: str | None
    heartbeat_at: int | None
    progress: JobProgress
    result: dict[str, Any]
    error: dict[str, Any] | None
    created_at: int
    started_at: int | None
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One message of a job. `level` is info, warning or error."""

    id: int
    job_id: int
    level: str
    text: str
    at: int
