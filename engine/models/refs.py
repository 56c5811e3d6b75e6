"""Model references: one grammar for every place that names a model, resolved to weights, tokenizer and adapter on disk.
Looks at files and the store, never at the network, and loads nothing."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import urlsplit

from engine.models import default_model, pinning, saved_files, strength, trained_weights
from store import models, runs
from store.db import Store
from store.errors import BadInput, Conflict, NotFound, Unsupported, UserError
from store.records import END_STATES, Run, state_word
from store.suggest import close, did_you_mean

RefKind = Literal["embedded", "hub", "folder", "gguf", "run", "endpoint"]
GRAMMAR = (
    f"A model reference is {default_model.NAME}, run:NAME, run:NAME@STEP or run:NAME*STRENGTH, a folder, a .gguf file, "
    "org/name on the Hugging Face hub, or http://host:port/v1#model."
)
REWARD = "reward"
"""The objective of runs that only score answers."""
_RUN_NAME = re.compile(r"([A-Za-z0-9._-]{1,64}?)(?:@(\d{1,9}))?(?:\*(\d{1,3}(?:\.\d{1,4})?))?")
_RUN_PREFIX, _FILE_SUFFIX = "run:", ".gguf"
_ENDPOINT = re.compile(r"https?://", re.IGNORECASE)
_HUB = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_PATH = ("/", "./", "../", "~")


@dataclass(frozen=True, slots=True)
class Ref:
    """A parsed reference. `value` is a name, an absolute path or a URL; `step` of a run, `model` of an endpoint.
    `strength` is what a run's adapter is multiplied with; None, the run as it is, stands for 1.

    Code that needs to know what a reference names uses this class; nothing else looks into the text.
    """

    kind: RefKind
    value: str
    step: int | None = None
    model: str | None = None
    strength: float | None = None

    def __str__(self) -> str:
        if self.kind == "run":
            return _RUN_PREFIX + self.title
        return f"{self.value}#{self.model}" if self.kind == "endpoint" else self.value

    @classmethod
    def run(cls, name: str, step: int | None = None, strength: float | None = None) -> Ref:
        """The reference to a run, or to one of its checkpoints, at its own strength or another."""
        return cls("run", name, step=step, strength=None if strength == 1 else strength)

    @classmethod
    def read(cls, text: str) -> Ref:
        """What `text` says by its form alone, for lists and headings: never raises and looks at no disk.

        What has the form of nothing else counts as a folder; `parse` is what checks.
        """
        text = text.strip()
        if text.casefold() == default_model.NAME:
            return cls("embedded", default_model.NAME)
        if text.startswith(_RUN_PREFIX):
            name = text.removeprefix(_RUN_PREFIX)
            match = _RUN_NAME.fullmatch(name)
            return _matched(match) if match else cls.run(name)
        if _ENDPOINT.match(text):
            url, _, model = text.partition("#")
            scheme, _, rest = url.partition("://")
            return cls("endpoint", f"{scheme.lower()}://{rest}".rstrip("/"), model=model or None)
        if text.casefold().endswith(_FILE_SUFFIX):
            return cls("gguf", text)
        return cls("hub" if _HUB.fullmatch(text) and not text.startswith(_PATH) else "folder", text)

    @property
    def is_run(self) -> bool:
        return self.kind == "run"

    @property
    def is_endpoint(self) -> bool:
        return self.kind == "endpoint"

    @property
    def is_remote(self) -> bool:
        """Whether what it is asked leaves this machine: an endpoint whose host is not a loopback address. A name that
        is not `localhost` counts as elsewhere; nothing is looked up."""
        if not self.is_endpoint:
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def is_file(self) -> bool:
        """Whether it is a GGUF file, which may hold a base or a tuned model."""
        return self.kind == "gguf"

    @property
    def can_be_base(self) -> bool:
        """Whether tuning can start from it: a run and an endpoint are no bases."""
        return self.kind not in ("run", "endpoint")

    @property
    def host(self) -> str:
        """The host of an endpoint; "" for what has none."""
        try:
            return (urlsplit(self.value).hostname or "") if self.is_endpoint else ""
        except ValueError:  # a bracket too few or too many
            return ""

    @property
    def holds_secret(self) -> bool:
        """Whether an endpoint's address carries what must not be kept: a name with a password, or a query."""
        return self.is_endpoint and ("@" in self.value.partition("//")[2].partition("/")[0] or "?" in self.value)

    @property
    def title(self) -> str:
        """For headings: a run without its prefix, a file or a folder without the way there."""
        if self.kind == "run":
            strength = f"*{self.strength:g}" if self.strength is not None else ""
            return self.value + (f"@{self.step}" if self.step is not None else "") + strength
        if self.kind in ("gguf", "folder") and PurePath(self.value).is_absolute():
            return PurePath(self.value).name
        return str(self)


def _matched(match: re.Match[str]) -> Ref:
    step, strength = match[2], match[3]
    return Ref.run(match[1], int(step) if step else None, float(strength) if strength else None)


def is_hub_name(text: str) -> bool:
    """Whether `text` has the form of a repository on the Hugging Face hub, `org/name`."""
    return bool(_HUB.fullmatch(text))


def parse_run(text: str, *, strength: bool = False) -> Ref:
    """A run named as `NAME`, `NAME@STEP` or with `run:` before it, where `strength` says so with `*STRENGTH` behind it.
    Raises BadInput."""
    match = _RUN_NAME.fullmatch(text.strip().removeprefix(_RUN_PREFIX))
    if not match:
        raise BadInput(f"{text!r} does not name a run.", where="RUN", todo="Name a run: NAME or NAME@STEP.")
    ref = _matched(match)
    if ref.strength is not None and not strength:
        raise BadInput(f"{text!r} names a strength, which means nothing here.", todo=f"Write {ref.value}.")
    return ref


def parse_whole_run(text: str) -> str:
    """The name in `run:NAME` or `NAME`. Raises BadInput for anything else, a checkpoint of a run included."""
    ref = parse_run(text)
    if ref.step is not None:
        raise BadInput(f"{text!r} names a checkpoint; here only a whole run can be meant.", todo=f"Write {ref.value}.")
    return ref.value


def checkpoint(answered: str, asked: str) -> int | None:
    """The step of the checkpoint that answered for `asked`, a run without a step; None when something else did."""
    one, two = Ref.read(answered), Ref.read(asked)
    same = one.is_run and two.is_run and (one.value, one.strength) == (two.value, two.strength)
    return one.step if same and two.step is None else None


def as_typed(text: str) -> str:
    """The normal form of a reference that a user typed: a relative path means the folder in which it was typed. A text
    that breaks the grammar stays as it is, so that `resolve` can report what is wrong with it."""
    try:
        return str(parse(text))
    except UserError:
        return text


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where everything of a model is. Paths are absolute and exist; None means "does not have one".

    `folder` holds Hugging Face safetensors and tokenizer (None until prepared), `gguf` the base weights for llama.cpp,
    `adapter` a PEFT folder, `adapter_gguf` the same for llama.cpp, `tokenizer` the folder with tokenizer.json. A run
    and an adapter folder carry their base's `folder` and `gguf`, and the whole base as `base`; where an adapter is used
    on other weights of that base, `folder` holds those, `gguf` is None and `weights` names them. `ref` is the normal
    form: parsing it gives the same model.
    """

    ref: str
    kind: RefKind
    title: str
    base: Resolved | None = None
    folder: Path | None = None
    gguf: Path | None = None
    adapter: Path | None = None
    adapter_gguf: Path | None = None
    tokenizer: Path | None = None
    url: str | None = None
    endpoint_model: str | None = None
    note: str = ""
    """What the user should know: that another state of a run is used than the newest, and why."""
    weights: str = ""


def parse(text: str) -> Ref:
    """What kind of reference `text` is. BadInput when it breaks the grammar, NotFound for a name of nothing."""
    text = text.strip()
    if not text or any(ord(c) < 32 for c in text):
        raise BadInput("The model reference is empty or holds control characters.", todo=GRAMMAR)
    ref = Ref.read(text)
    path = Path(text).expanduser()
    if ref.is_run and not _RUN_NAME.fullmatch(ref.title):
        todo = "Write run:NAME, run:NAME@STEP with a whole step, or run:NAME*0.7 for another strength."
        raise BadInput(f"{text!r} is not a reference to a run.", todo=todo)
    if ref.is_endpoint and (not ref.model or not ref.value.partition("//")[2].strip("/")):
        raise BadInput(f"{text!r} does not name host and model.", todo="Write http://host:port/v1#model.")
    if ref.is_file:
        return replace(ref, value=str(path.absolute()))
    if ref.kind in ("hub", "folder"):
        if path.is_dir() or text.startswith(_PATH) or text in (".", ".."):
            return Ref("folder", str(path.resolve()))
        if ref.kind == "folder":
            raise NotFound(f"There is no model {text!r}.", todo=GRAMMAR)
    return ref


def resolve(store: Store, text: str) -> Resolved:
    """Find the model that `text` names.

    Raises NotFound (with near names) when it is unknown or gone, Conflict when a run has nothing to load yet, BadInput
    or Unsupported when what is there is no model that can be used. Never touches the network.
    """
    try:
        ref = parse(text)
    except NotFound as error:
        raise NotFound(error.what, where=error.where, todo=_near(store, text) or error.todo) from None
    match ref.kind:
        case "embedded":
            folder, gguf = default_model.prepared(store.home), default_model.gguf()
            return Resolved(ref.value, "embedded", default_model.TITLE, folder=folder, gguf=gguf, tokenizer=folder)
        case "endpoint":
            return Resolved(str(ref), "endpoint", str(ref.model), url=ref.value, endpoint_model=ref.model)
        case "run":
            return _run(store, ref)
        case "gguf":
            return _gguf(store, ref)
        case "folder":
            return _folder(store, Path(ref.value), ref)
        case "hub":
            return _hub(store, ref)


def known(store: Store) -> list[str]:
    """References to offer, best first: the embedded model, tuned runs (newest first), then models that were added."""
    tuned = [
        str(Ref.run(run.name))
        for run in runs.all_runs(store)
        if writes(run) and (run.adapter or runs.checkpoints(store, run.id))
    ]
    added = [model.ref for model in models.all_models(store)]
    return list(dict.fromkeys([default_model.NAME, *tuned, *added]))


def followed(store: Store, texts: Iterable[str]) -> dict[str, int | None]:
    """The references that name a run in training, each with the step of its newest checkpoint: what they resolve to
    changes as the run saves more. None where the run has no checkpoint yet."""
    found: dict[str, int | None] = {}
    for text in texts:
        ref = Ref.read(text)
        if not ref.is_run or ref.step is not None:
            continue
        try:
            run = runs.get(store, ref.value)
        except NotFound:
            continue
        if run.state not in END_STATES and not run.adapter:
            found[text] = max((c.step for c in runs.checkpoints(store, run.id)), default=None)
    return found


def _near(store: Store, text: str) -> str | None:
    """A hint that names the known references closest to a wrong one, or all of them."""
    names = known(store)
    by_title = {Ref.read(name).title: name for name in names}
    if hits := close(Ref.read(text).title, by_title):
        return did_you_mean([by_title[hit] for hit in hits])
    return f"Known models: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}. {GRAMMAR}"


def _run(store: Store, ref: Ref) -> Resolved:
    try:
        run = runs.get(store, ref.value)
    except NotFound:
        raise NotFound(f"There is no run {ref.value!r}.", todo=_near(store, str(ref))) from None
    if not writes(run):
        raise Unsupported(
            f"{ref} is a reward model: it scores answers and writes none.",
            todo=f"Score answers with it: tuningfork score {ref} --dataset NAME",
        )
    return resolve_run(store, run, ref)


def writes(run: Run) -> bool:
    """Whether a run's model writes answers; a reward model only scores them."""
    return run.config.get("objective") != REWARD


def resolve_run(store: Store, run: Run, ref: Ref) -> Resolved:
    """Where everything of a run is, at the step that `ref` may name; a reward model too, which `resolve` refuses."""
    step, adapter, note = _adapter_of(store, run, ref.step)
    base = resolve(store, run.base)
    pinning.check_unchanged(run, base.gguf, base.folder)
    trained = trained_weights.of(store.home, run)
    converted = adapter / "adapter.gguf"
    tokenizer = adapter if (adapter / "tokenizer.json").is_file() else base.tokenizer
    title = run.name + (f" at step {step}" if step is not None else "")
    if ref.strength is not None:
        adapter = converted = strength.scaled(store.home, adapter, ref.strength)
        title += f" × {ref.strength:g}"
    return replace(
        base,
        ref=str(replace(ref, step=step)),
        kind="run",
        title=f"{title} {trained_weights.NF4}" if trained else title,
        folder=trained.folder if trained else base.folder,
        gguf=None if trained else base.gguf,
        weights=trained_weights.NF4 if trained else "",
        base=base,
        adapter=adapter,
        adapter_gguf=converted if converted.is_file() else None,
        tokenizer=tokenizer,
        note=note,
    )


@dataclass(frozen=True, slots=True)
class SavedState:
    """Weights that a run saved: the finished adapter (`step` None) or a checkpoint, with what its manifest lists."""

    run: str
    step: int | None
    folder: Path
    files: Mapping[str, Any]

    @property
    def title(self) -> str:
        return "the finished adapter" if self.step is None else f"the checkpoint at step {self.step}"

    @property
    def damage(self) -> str | None:
        """What is wrong with the adapter in it; None when it is as it was saved."""
        if not (self.folder / "adapter_config.json").is_file():
            return "adapter_config.json is missing"
        return saved_files.damage(self.folder, self.files, saved_files.ADAPTER)

    def require(self) -> Path:
        """The folder; NotFound when its adapter is gone, BadInput when it is not what was saved."""
        wrong, todo = self.damage, "Restore the folder, or train the run again."
        if wrong and wrong.endswith("is missing"):
            what = f"The adapter of run {self.run} is gone from the disk."
            raise NotFound(what, where=str(self.folder), todo=todo)
        if wrong:
            what = f"Of run {self.run} {self.title} is damaged: {wrong}."
            raise BadInput(what, where=str(self.folder), todo=todo)
        return self.folder


def saved_states(store: Store, run: Run) -> list[SavedState]:
    """What a run's name can stand for, the first choice first: the checkpoint that you made its result, if any, the
    finished adapter, if it has one, then its checkpoints, newest first. Checks no file."""
    states = []
    if run.adapter:
        folder = store.home.absolute(run.adapter)
        states.append(SavedState(run.name, None, folder, saved_files.manifest_of(folder).get("files", {})))
    kept = reversed(runs.checkpoints(store, run.id))
    states += [SavedState(run.name, c.step, store.home.absolute(c.path), c.manifest) for c in kept]
    if run.result_step is not None:
        states.sort(key=lambda state: state.step != run.result_step)  # stable: the others keep their order
    return states


def _adapter_of(store: Store, run: Run, step: int | None) -> tuple[int | None, Path, str]:
    """Step and folder of the checkpoint asked for; without a step, of the first of `saved_states` that is as it was
    saved (None for the finished adapter), with a sentence on those before it. NotFound or BadInput when there is none.
    """
    states = {state.step: state for state in saved_states(store, run)}
    saved = [at for at in states if at is not None]
    if step is None and states:
        bad: list[str] = []
        for state in states.values():
            if (wrong := state.damage) is None:
                note = f"Of run {run.name} {' and '.join(bad)}: {state.title} is used instead." if bad else ""
                return state.step, state.folder, note
            bad.append(f"{state.title} is damaged ({wrong})")
        next(iter(states.values())).require()
    if step in states:
        return step, states[step].require(), ""
    if saved or run.adapter:
        have = ", ".join(str(s) for s in sorted(saved)) or f"none; its finished adapter is {Ref.run(run.name)}"
        raise NotFound(f"Run {run.name} has no checkpoint at step {step}.", todo=f"Its checkpoints: {have}.")
    todo = {
        "succeeded": "Train the run again.",
        "failed": f"See why: tuningfork runs show {run.name}",
        "stopped": f"Resume it: tuningfork runs resume {run.name}",
        "lost": f"Resume it: tuningfork runs resume {run.name}",
    }.get(run.state, f"Wait for it: tuningfork runs watch {run.name}")
    still = "" if run.state in END_STATES else " yet"
    raise Conflict(f"Run {run.name} is {state_word(run.state)}: it has no adapter and no checkpoint{still}.", todo=todo)


def _gguf(store: Store, ref: Ref) -> Resolved:
    path = Path(ref.value)
    if not path.is_file():
        raise NotFound("There is no such GGUF file.", where=ref.value, todo="Check the path.")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.", where=ref.value) from None
    if magic != b"GGUF":
        raise BadInput(
            "This is not a GGUF file: it does not begin with the letters GGUF.",
            where=ref.value,
            todo="Download or copy it again, whole.",
        )
    folder = default_model.prepared(store.home, ref.value)
    return Resolved(ref.value, "gguf", path.stem, folder=folder, gguf=path, tokenizer=folder)


def _folder(store: Store, folder: Path, ref: Ref) -> Resolved:
    where = str(folder)
    if not folder.is_dir():
        raise NotFound("There is no such model folder.", where=where, todo=GRAMMAR)
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        return _adapter_folder(store, folder, ref)
    _whole_model(folder)
    title = ref.value if ref.kind == "hub" else folder.name
    return Resolved(str(ref), ref.kind, title, folder=folder, tokenizer=folder)


def _adapter_folder(store: Store, folder: Path, ref: Ref) -> Resolved:
    """A PEFT adapter that is no run's, on the base that its configuration names. NotFound when that is not here."""
    where, file = str(folder), folder / "adapter_config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
        named = config.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        raise BadInput("The adapter's configuration is not readable JSON.", where=str(file)) from None
    if not isinstance(named, str) or not named.strip():
        what = "This adapter names no base model (base_model_name_or_path)."
        raise Unsupported(what, where=str(file), todo="Write the base's reference there: a folder or org/name.")
    if config.get("task_type") == "SEQ_CLS":
        what = "This adapter scores answers and writes none."
        raise Unsupported(
            what, where=where, todo="Train a reward model of your own: tuningfork train --objective reward"
        )
    if not (folder / "adapter_model.safetensors").is_file():
        what = "This adapter has no weights as safetensors (adapter_model.safetensors); pickle files are not read."
        raise Unsupported(what, where=where, todo="Save it again with PEFT: model.save_pretrained(FOLDER).")
    try:
        base = resolve(store, named)
    except NotFound as error:
        what = f"The base of this adapter, {named}, is not on this machine."
        raise NotFound(what, where=str(file), todo=error.todo) from None
    if base.adapter is not None or base.kind == "endpoint":
        raise Unsupported(f"The base of this adapter, {named}, is not a base model.", where=str(file))
    converted = folder / "adapter.gguf"
    return replace(
        base,
        ref=str(ref),
        kind=ref.kind,
        title=ref.value if ref.kind == "hub" else folder.name,
        base=base,
        adapter=folder,
        adapter_gguf=converted if converted.is_file() else None,
        tokenizer=folder if (folder / "tokenizer.json").is_file() else base.tokenizer,
    )


def _whole_model(folder: Path) -> None:
    """Raise unless config, weights and a fast tokenizer are there; BadInput or Unsupported say which is missing."""
    where = str(folder)
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise BadInput("This folder holds no model: config.json is missing.", where=where) from None
    except (OSError, ValueError):
        raise BadInput("The model's configuration is not readable JSON.", where=str(folder / "config.json")) from None
    if not isinstance(config, dict) or not config.get("model_type"):
        raise BadInput("The configuration names no model_type.", where=str(folder / "config.json"))
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for kind in ("*.bin", "*.pt", "*.pth") for path in folder.glob(kind))
        if pickled:  # reading a pickle runs the code in it, and neither exports nor checks of weights can read one
            raise Unsupported(
                f"This model's weights are only there as pickle files ({pickled[0]}), which are not read.",
                where=where,
                todo="Save it as safetensors: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW).",
            )
        raise BadInput("This model folder holds no weights (*.safetensors).", where=where)
    if not (folder / "tokenizer.json").is_file():
        raise Unsupported(
            "This model folder has no tokenizer.json, which the chat template needs.",
            where=where,
            todo="Save the model's fast tokenizer into the folder.",
        )


def _hub(store: Store, ref: Ref) -> Resolved:
    folder = hub_snapshot(ref.value)
    if folder is None:
        near = did_you_mean(close(ref.value, known(store), 1))
        todo = f"Fetch it once: tuningfork models add {ref.value}" + (f" {near}" if near else "")
        raise NotFound(f"{ref.value} is not on this machine, and Tuningfork downloads nothing by itself.", todo=todo)
    return _folder(store, folder, ref)


def hub_snapshot(name: str) -> Path | None:
    """The folder of `org/name` in the local Hugging Face cache, at its main revision; None if it was never fetched."""
    say = os.environ.get
    cache = say("HF_HOME") or f"{say('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    repo = Path(say("HF_HUB_CACHE") or f"{cache}/hub").expanduser() / f"models--{name.replace('/', '--')}"
    try:
        folder = repo / "snapshots" / (repo / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        return None
    return folder if (folder / "config.json").is_file() else None
