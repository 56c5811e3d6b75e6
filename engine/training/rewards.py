"""What rewards answers in a run that learns from them: a reward model (`reward`), a function of the user's
(`reward_file`), probes (`reward_probes`) or a model that judges (`reward_judge`).
Checked and copied when a run is queued, so that the run stays what it was; loads no weights and runs no user code."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.core.files import read_json, sha256_of, write_json, write_whole
from engine.models import refs, saved_files
from engine.models.refs import Ref
from engine.training import reward_judge, reward_probes, watched_probes
from engine.training.config import TrainConfig
from engine.training.objectives import OBJECTIVES
from engine.training.objectives.reinforced import SOURCES
from store import runs
from store.db import Store
from store.errors import BadInput
from store.records import SnapshotRow

FOLDER = "reward"
"""In a run's folder: what rewards its answers, as it was when the run was queued."""
CODE, PROBES, RUBRIC, ABOUT = "reward.py", "probes.json", "rubric.txt", "about.json"
_FILES = {"function": CODE, "probes": PROBES, "judge": RUBRIC, "config": saved_files.ADAPTER[1]}
"""The file that holds a reward, by what ABOUT says of it."""
EXAMPLE = "def reward(prompt, answer, expected): return float(expected in answer)"


def settled(store: Store, config: TrainConfig) -> TrainConfig:
    """The configuration with its reward as whole references and absolute paths. BadInput, NotFound or Unsupported for
    one that cannot be used, and where one is missing."""
    if "reward" in OBJECTIVES[config.objective].fields and all(getattr(config, name) is None for name in SOURCES):
        raise BadInput(
            f"A run towards {config.objective} needs one thing that rewards its answers.",
            where="reward",
            todo="Name a reward model (--reward run:NAME), a function of yours (--reward-file PATH:FUNCTION), probes"
            " (--reward-probes SET) or a model that judges (--reward-judge REF).",
        )
    if config.reward_rubric is not None and config.reward_judge is None:
        what = "A rubric is what a model judges by, and no model is named that judges."
        raise BadInput(what, where="reward_rubric", todo="Name it (--reward-judge REF), or leave the rubric out.")
    if config.reward_file is not None:
        path, function = code_of(config.reward_file)
        return config.replace(reward_file=f"{path}:{function}")
    if config.reward_probes is not None:
        return config.replace(reward_probes=reward_probes.settled(config.reward_probes))
    if config.reward_judge is not None:
        rubric = config.reward_rubric and str(Path(config.reward_rubric).expanduser().absolute())
        reward_judge.rubric(rubric)
        return config.replace(reward_judge=reward_judge.settled(store, config.reward_judge), reward_rubric=rubric)
    if config.reward is not None:
        run = _model(store, config.reward)
        return config.replace(reward=str(Ref.run(run.name, refs.parse_run(config.reward).step)))
    return config


def said(config: TrainConfig) -> str:
    """What a user must know before a run starts: whose code it will run, where its answers go; '' for nothing."""
    if config.reward_judge is not None:
        return reward_judge.said(config.reward_judge)
    if config.reward_file is None:
        return ""
    return f"The run executes your code: it calls {config.reward_file} for every answer."


def rewarded(store: Store, config: TrainConfig, rows: Sequence[SnapshotRow]) -> tuple[list[SnapshotRow], list[str]]:
    """The rows that a run of a settled configuration takes, and sentences on those that it leaves out since nothing
    would reward their answers. Raises what `reward_probes.read` raises, and BadInput when none is left."""
    if config.reward_probes is None:
        return list(rows), []
    found, notes = reward_probes.read(store, config.reward_probes, rows)
    left, more = found.asked(rows)
    return left, [*notes, *more]


def code_of(text: str) -> tuple[Path, str]:
    """File and function of `PATH:FUNCTION`. BadInput when there is no such function; the file is read, not run."""
    name, _, function = text.rpartition(":")
    path = Path(name).expanduser().absolute()
    todo = f"Write PATH:FUNCTION; the file defines the function, such as: {EXAMPLE}"
    if not name or not function.isidentifier():
        raise BadInput(f"{text!r} names no function in a file.", where="reward_file", todo=todo)
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except OSError as error:
        what = f"The reward's file cannot be read: {error.strerror}."
        raise BadInput(what, where=str(path), todo="Check the path.") from None
    except (SyntaxError, ValueError) as error:
        raise BadInput(f"The reward's file is not Python: {error}.", where=str(path), todo="Correct it.") from None
    if not any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body):
        raise BadInput(f"The file defines no function {function}.", where=str(path), todo=todo)
    return path, function


def keep(store: Store, config: TrainConfig, folder: Path) -> None:
    """Copy what rewards the answers of a settled configuration into `folder`; nothing where nothing does. Probes, which
    depend on the rows, are `keep_probes`'."""
    about: dict[str, Any]
    if config.reward_file is not None:
        path, function = code_of(config.reward_file)
        _make(folder)
        shutil.copyfile(path, folder / CODE)
        about = {"function": function}
    elif config.reward_judge is not None:
        _make(folder)
        write_whole(folder / RUBRIC, reward_judge.rubric(config.reward_rubric))
        about = {"judge": config.reward_judge}
    elif config.reward is not None:
        run = _model(store, config.reward)
        found = refs.resolve_run(store, run, refs.parse_run(config.reward))
        assert found.adapter is not None
        _make(folder)
        for name in saved_files.ADAPTER:
            shutil.copyfile(found.adapter / name, folder / name)
        about = {"config": run.config, "base": run.base}
    else:
        return
    _seal(folder, about)


def keep_probes(store: Store, config: TrainConfig, rows: Sequence[SnapshotRow], folder: Path) -> list[str]:
    """Write the probes that reward answers to these rows into `folder`; nothing where none do. Returns the sentences of
    `rewarded`, and raises what it raises."""
    if config.reward_probes is None:
        return []
    found, notes = reward_probes.read(store, config.reward_probes, rows)
    _, more = found.asked(rows)
    _make(folder)
    write_json(folder / PROBES, watched_probes.to_json(found.sets))
    _seal(folder, {"probes": list(found.sets)})
    return [*notes, *more]


def kept(run_folder: Path) -> dict[str, Any]:
    """What was written about the reward of a run: {"function"} of the user's file, {"probes"}: names of their sets,
    {"judge"}: a model reference, or {"config", "base"} of a reward model. BadInput when the copy is not what it was."""
    folder = run_folder / FOLDER
    about: dict[str, Any] = read_json(folder / ABOUT, optional=True)
    name = next((file for key, file in _FILES.items() if key in about), "")
    if not name or not (folder / name).is_file() or sha256_of(folder / name) != about["sha256"]:
        what = "The run's copy of what rewards its answers is gone or changed."
        raise BadInput(what, where=str(folder), todo="Train a new run.")
    return about


def kept_probes(run_folder: Path) -> reward_probes.RewardProbes:
    """The probes that reward the answers of a run, as they were when it was queued. BadInput as `kept`."""
    kept(run_folder)
    return reward_probes.RewardProbes(watched_probes.from_json(read_json(run_folder / FOLDER / PROBES)))


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)


def _seal(folder: Path, about: dict[str, Any]) -> None:
    """Write what a reward is, with the hash of the file that holds it."""
    name = next(file for key, file in _FILES.items() if key in about)
    write_json(folder / ABOUT, about | {"sha256": sha256_of(folder / name)})


def _model(store: Store, text: str) -> Any:
    run = runs.get(store, refs.parse_run(text).value)
    if refs.writes(run):
        what = f"Run {run.name} is not a reward model: it was trained towards {run.config.get('objective', 'sft')}."
        todo = "Train one: tuningfork train --objective reward --dataset NAME"
        raise BadInput(what, where="reward", todo=todo)
    return run
