"""What rewards answers in a run that learns from them: a reward model (`reward`) or a function (`reward_file`).
Checked and copied when a run is queued, so that the run stays what it was; loads no weights and runs no user code."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

from engine.core.files import read_json, sha256_of, write_json
from engine.models import refs, saved_files
from engine.models.refs import Ref
from engine.training.config import TrainConfig
from engine.training.objectives import OBJECTIVES
from store import runs
from store.db import Store
from store.errors import BadInput

FOLDER = "reward"
"""In a run's folder: the reward model's adapter, or the user's file, as they were when the run was queued."""
CODE, ABOUT = "reward.py", "about.json"
EXAMPLE = "def reward(prompt, answer, expected): return float(expected in answer)"


def settled(store: Store, config: TrainConfig) -> TrainConfig:
    """The configuration with its reward as a whole reference or an absolute path. BadInput or NotFound for one that
    cannot be used, and where one is missing."""
    if "reward" in OBJECTIVES[config.objective].fields and config.reward is None and config.reward_file is None:
        raise BadInput(
            f"A run towards {config.objective} needs one thing that rewards its answers.",
            where="reward",
            todo="Name a reward model (--reward run:NAME) or a function of yours (--reward-file PATH:FUNCTION).",
        )
    if config.reward_file is not None:
        path, function = code_of(config.reward_file)
        return config.replace(reward_file=f"{path}:{function}")
    if config.reward is not None:
        run = _model(store, config.reward)
        return config.replace(reward=str(Ref.run(run.name, refs.parse_run(config.reward).step)))
    return config


def said(config: TrainConfig) -> str:
    """What a user must know before a run starts: whose code it will run; '' without any."""
    if config.reward_file is None:
        return ""
    return f"The run executes your code: it calls {config.reward_file} for every answer."


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
    """Copy what rewards the answers of a settled configuration into `folder`; nothing where nothing does."""
    if config.reward_file is None and config.reward is None:
        return
    folder.mkdir(mode=0o700, parents=True)
    about: dict[str, Any] = {}
    if config.reward_file is not None:
        path, function = code_of(config.reward_file)
        shutil.copyfile(path, folder / CODE)
        about = {"function": function, "sha256": sha256_of(folder / CODE)}
    elif config.reward is not None:
        run = _model(store, config.reward)
        found = refs.resolve_run(store, run, refs.parse_run(config.reward))
        assert found.adapter is not None
        for name in saved_files.ADAPTER:
            shutil.copyfile(found.adapter / name, folder / name)
        about = {"config": run.config, "base": run.base, "sha256": sha256_of(folder / saved_files.ADAPTER[1])}
    write_json(folder / ABOUT, about)


def kept(run_folder: Path) -> dict[str, Any]:
    """What `keep` wrote about the reward of a run: {"function"} of the user's file, or {"config", "base"} of a reward
    model. BadInput when the copy is not what it was."""
    folder = run_folder / FOLDER
    about: dict[str, Any] = read_json(folder / ABOUT, optional=True)
    name = CODE if "function" in about else saved_files.ADAPTER[1]
    if not about or not (folder / name).is_file() or sha256_of(folder / name) != about["sha256"]:
        what = "The run's copy of what rewards its answers is gone or changed."
        raise BadInput(what, where=str(folder), todo="Train a new run.")
    return about


def _model(store: Store, text: str) -> Any:
    run = runs.get(store, refs.parse_run(text).value)
    if refs.writes(run):
        what = f"Run {run.name} is no reward model: it was trained towards {run.config.get('objective', 'sft')}."
        todo = "Train one: tuningfork train --objective reward --dataset NAME"
        raise BadInput(what, where="reward", todo=todo)
    return run
