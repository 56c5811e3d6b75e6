"""A tuned model at less or more than its full strength: the adapter's delta times a number, `run:NAME*0.7`.
Writes a small folder that every reader of adapters takes as it is; loads nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from store.errors import BadInput, NotFound, Unsupported
from store.files import replacing
from store.home import Home

MOST = 2.0
"""The largest strength: beyond it, answers break up."""
_KEPT = 32
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def scaled(home: Home, adapter: Path, strength: float) -> Path:
    """A PEFT folder with the same factors whose delta is `strength` times as large: 0 is the base, 1 the run.

    LoRA adds (alpha / rank) B A to each weight (https://arxiv.org/abs/2106.09685, section 4.1), so alpha times the
    strength is all that changes; chat, merging and export read it there. The weights are a hard link.

    Raises BadInput for a strength outside 0 to `MOST`, Unsupported for an adapter that is more than low-rank factors.

    >>> # alpha 32 at strength 0.5 is alpha 16: the same A and B, half the delta
    """
    if not 0 <= strength <= MOST:
        raise BadInput(f"The strength {strength:g} is not between 0 and {MOST:g}.", todo="Write run:NAME*0.7.")
    try:
        options = json.loads((adapter / _CONFIG).read_text("utf-8"))
        weights = (adapter / _WEIGHTS).stat()
    except FileNotFoundError as error:
        raise NotFound("The weights are gone from the disk.", where=str(error.filename)) from None
    _refuse_what_has_no_strength(options, adapter)
    text = f"{adapter}\0{weights.st_mtime_ns}\0{weights.st_size}\0{strength:g}"
    folder = home.cache / "strength" / hashlib.sha256(text.encode()).hexdigest()[:16]
    if not (folder / _CONFIG).is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / _WEIGHTS).unlink(missing_ok=True)
        try:
            os.link(adapter / _WEIGHTS, folder / _WEIGHTS)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(adapter / _WEIGHTS, folder / _WEIGHTS)
        options["lora_alpha"] *= strength
        options["alpha_pattern"] = {name: a * strength for name, a in (options.get("alpha_pattern") or {}).items()}
        with replacing(folder / _CONFIG) as part:
            part.write_text(json.dumps(options, indent=2), "utf-8")
        _thin_out(folder.parent)
    return folder


def _refuse_what_has_no_strength(options: dict[str, Any], adapter: Path) -> None:
    kind = options.get("peft_type")
    more = [name for name in ("use_dora", "modules_to_save", "trainable_token_indices") if options.get(name)]
    if options.get("bias", "none") != "none":
        more.append("bias")
    if kind != "LORA" or more:
        what = f"trains {' and '.join(more)}" if more else f"is of the kind {kind}"
        raise Unsupported(
            f"This adapter {what}, which has no strength: only low-rank deltas can be scaled.",
            where=str(adapter),
            todo="Leave the strength out.",
        )


def _thin_out(place: Path) -> None:
    """Keep the newest."""
    made = sorted(place.iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    for old in made[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
