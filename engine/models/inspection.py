"""What a model folder's files say about it, before any weight is loaded: config.json, tokenizer.json and the headers of
the safetensors files. Finds what would make training or chat silently wrong, and names it. No torch, no numpy."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from engine.gguf import header, tokenizer_file
from engine.models.weight_files import ADAPTER_FILES, TensorHeader, counted, json_object, read_tensors, some_names
from store.errors import BadInput, TuningforkError, Unsupported

_LAYER = re.compile(r"(?P<stack>(?:.*\.)?(?:layers|h|blocks|block|layer))\.(?P<number>\d+)\.(?P<rest>.+)")
_WRAPPERS = ("_orig_mod.", "module.", "_fsdp_wrapped_module.")
_OUTPUT = ("lm_head.weight", "output.weight", "embed_out.weight")
_EMBEDDING = re.compile(r"(?:.*\.)?(?:embed_tokens|wte|word_embeddings|embed_in|tok_embeddings|embedding)\.weight")
_VISION = ("vision_config", "audio_config", "vision_tower")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_IGNORABLE = re.compile(
    r"(inv_freq|position_ids|masked_bias|\.attn\.bias)$|(^|\.)(vision|visual|audio|image|multi_modal|mtp)"
)

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class ModelIssue:
    """Something wrong (`error`: no run may start) or worth knowing (`warning`). `what` is a sentence."""

    level: Level
    what: str
    todo: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a folder. `quantised` is the checkpoint's own quantisation method or "", `experts` says that
    the model is a mixture of experts, `vision` that it has a tower for other than text."""

    folder: Path
    tensors: Mapping[str, TensorHeader] = field(default_factory=dict)
    issues: tuple[ModelIssue, ...] = ()
    quantised: str = ""
    quantised_bits: int | None = None
    experts: bool = False
    vision: bool = False

    @property
    def errors(self) -> list[ModelIssue]:
        """The issues that forbid a run."""
        return [issue for issue in self.issues if issue.level == "error"]

    def require(self) -> Inspection:
        """This, or Unsupported with the first error."""
        for issue in self.errors:
            raise Unsupported(issue.what, where=issue.where or str(self.folder), todo=issue.todo or None)
        return self


def inspect(folder: Path, *, method: str | None = None, targets: str | Sequence[str] = "all-linear") -> Inspection:
    """Look at a Hugging Face model folder. `method` and `targets` are those of the planned run, None for chat alone.

    Never raises for what is wrong with the model: that is in `issues`.
    """
    try:
        config = json_object(folder / "config.json")
        tensors = read_tensors(folder)
    except TuningforkError as error:
        return Inspection(folder, issues=(ModelIssue("error", error.what, error.todo or "", error.where or ""),))
    text = {**config, **(config.get("text_config") or {})}
    quantised, bits = _quantisation(config)
    vision = any(config.get(key) for key in _VISION)
    experts = any(isinstance(text.get(key), int) and text[key] > 1 for key in _EXPERTS)
    issues = [
        *_custom_code(folder, config),
        *_wrapped_names(tensors),
        *_layers(text, tensors),
        *_ends(text, tensors, quantised),
        *_vocabulary(folder, text, tensors),
        *_quantised(quantised, bits, method),
        *_leftover_adapter(folder),
    ]
    if method is not None:
        issues += _targets(targets, tensors)
        if vision:
            issues.append(
                ModelIssue(
                    "warning",
                    "This model also reads images or sound; only its language model is tuned.",
                    "The other parts stay as they are.",
                )
            )
    return Inspection(folder, tensors, tuple(issues), quantised, bits, experts, vision)


def check_gguf(path: Path) -> None:
    """Raise BadInput unless the GGUF file is whole, with all of its shards, and is the first of them."""
    header.shards(path)


# --- what can be wrong ------------------------------------------------------------------------------------------------


def _wrapped_names(tensors: Iterable[str]) -> list[ModelIssue]:
    for prefix in _WRAPPERS:
        wrapped = [name for name in tensors if name.startswith(prefix) or f".{prefix}" in name]
        if wrapped:
            return [
                ModelIssue(
                    "error",
                    f"The names of {counted(wrapped, 'tensor')} contain {prefix!r}, so the model would not find "
                    f"them and would start from random weights: {some_names(wrapped)}.",
                    "They come from saving a wrapped model (torch.compile, DDP): save the model inside the wrapper.",
                )
            ]
    return []


def _layers(config: Mapping[str, Any], tensors: Iterable[str]) -> list[ModelIssue]:
    """Layers that config.json promises and the files lack, and layers that lack tensors which all others have."""
    stacks: dict[str, dict[int, set[str]]] = {}
    for name in tensors:
        if match := _LAYER.fullmatch(name):
            stacks.setdefault(match["stack"], {}).setdefault(int(match["number"]), set()).add(match["rest"])
    promised = config.get("num_hidden_layers") or config.get("n_layer") or config.get("num_layers")
    text = {stack: layers for stack, layers in stacks.items() if not re.search(r"vision|visual|audio|encoder", stack)}
    if not text or not isinstance(promised, int):
        return []
    stack, layers = max(text.items(), key=lambda item: len(item[1]))
    found: list[ModelIssue] = []
    todo = "Download the model again, or correct config.json."
    absent = [number for number in range(promised) if number not in layers]
    if absent:
        found.append(
            ModelIssue(
                "error",
                f"config.json promises {promised} layers, and the files hold {len(layers)}; the first missing one is "
                f"{stack}.{absent[0]}. Its weights would be random.",
                todo,
            )
        )
    extra = [number for number in layers if number >= promised]
    if extra:
        found.append(
            ModelIssue(
                "error",
                f"The files hold layer {max(extra)}, and config.json knows {promised} layers: the rest would be "
                "ignored.",
                todo,
            )
        )
    # Layers of one kind have the same tensors; hybrids (attention and state space, dense and experts) have few kinds.
    kinds: dict[frozenset[str], list[int]] = {}
    for number, rest in layers.items():
        kinds.setdefault(frozenset(rest), []).append(number)
    for some, numbers in kinds.items():
        larger = next((other for other in kinds if some < other), None)
        if larger is not None:
            lost = [f"{stack}.{number}.{name}" for number in sorted(numbers) for name in sorted(larger - some)]
            found.append(
                ModelIssue(
                    "error",
                    f"{counted(lost, 'tensor')} missing from the files that other layers have: {some_names(lost)}.",
                    todo,
                )
            )
            break
    return found


def _ends(config: Mapping[str, Any], tensors: Mapping[str, TensorHeader], quantised: str) -> list[ModelIssue]:
    """The embedding, the final norm's neighbours, and the output matrix of a model that does not tie it."""
    found = []
    todo = "Download the model again."
    has_layers = any(_LAYER.fullmatch(name) for name in tensors)
    if has_layers and not any(_EMBEDDING.fullmatch(name) for name in tensors):
        found.append(ModelIssue("error", "The files hold no token embedding: it would be random.", todo))
    untied = config.get("tie_word_embeddings") is False
    if has_layers and untied and not any(name.endswith(_OUTPUT) for name in tensors) and not quantised:
        found.append(
            ModelIssue(
                "error",
                "config.json says that the output matrix is not tied to the embedding, and the files hold none: it "
                "would be random.",
                todo,
            )
        )
    return found


def _vocabulary(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, TensorHeader]) -> list[ModelIssue]:
    """Token ids that the embedding has no row for."""
    highest = highest_token(folder)
    rows = next((t.shape[0] for name, t in tensors.items() if _EMBEDDING.fullmatch(name) and len(t.shape) == 2), None)
    size = config.get("vocab_size")
    found = []
    if isinstance(size, int) and rows is not None and rows != size:
        found.append(
            ModelIssue(
                "error",
                f"config.json says vocab_size {size:,}, and the embedding has {rows:,} rows.",
                "Correct vocab_size in config.json, or download the model again.",
            )
        )
    limit = min(n for n in (size, rows) if isinstance(n, int)) if isinstance(size, int) or rows is not None else None
    if highest is not None and limit is not None and highest[0] >= limit:
        found.append(
            ModelIssue(
                "error",
                f"The tokenizer has the token {highest[1]!r} with id {highest[0]:,}, and the model knows ids up to "
                f"{limit - 1:,}.",
                "Use the tokenizer that belongs to the model, or resize the model's embeddings.",
                str(folder / "tokenizer.json"),
            )
        )
    return found


def highest_token(folder: Path) -> tuple[int, str] | None:
    """The highest id that tokenizer.json gives out, with its token; None when the file cannot be read."""
    try:
        raw = tokenizer_file.load(folder).raw
        vocabulary = raw["model"]["vocab"]
        pairs = (
            list(vocabulary.items()) if isinstance(vocabulary, dict) else [(v[0], n) for n, v in enumerate(vocabulary)]
        )
        pairs += [(token["content"], token["id"]) for token in raw.get("added_tokens") or []]
        id, token = max((int(id), str(token)) for token, id in pairs)
    except (BadInput, ValueError, KeyError, TypeError, IndexError):
        return None
    return id, token


def is_quantised(folder: Path) -> bool:
    """Whether the checkpoint's own config.json says that its weights are quantised."""
    return bool(_quantisation(json_object(folder / "config.json"))[0])


def _quantisation(config: Mapping[str, Any]) -> tuple[str, int | None]:
    settings = config.get("quantization_config")
    if not isinstance(settings, dict):
        return "", None
    method = str(settings.get("quant_method") or ("bitsandbytes" if settings.get("load_in_4bit") else "unknown"))
    bits = settings.get("bits")
    if method == "bitsandbytes":
        bits = 4 if settings.get("load_in_4bit") or settings.get("_load_in_4bit") else 8
    return method, bits if isinstance(bits, int) else None


def _quantised(quantised: str, bits: int | None, method: str | None) -> list[ModelIssue]:
    if not quantised:
        return []
    if quantised == "bitsandbytes" and bits == 4 and method in ("qlora", None):
        return []
    if quantised == "bitsandbytes" and bits == 4:
        return [
            ModelIssue(
                "error",
                f"This checkpoint is quantised to 4 bits (bitsandbytes), and {method} trains 16-bit weights.",
                "Train it with --method qlora, or use the model's 16-bit folder.",
            )
        ]
    name = f"{quantised}, {bits} bits" if bits else quantised
    return [
        ModelIssue(
            "error",
            f"This checkpoint is quantised ({name}), and its weights cannot be trained or exported as they are.",
            "Use the model's 16-bit folder; a GGUF file of it works too.",
        )
    ]


def _custom_code(folder: Path, config: Mapping[str, Any]) -> list[ModelIssue]:
    kind = str(config.get("model_type") or "")
    if not kind:
        return [ModelIssue("error", "config.json names no model_type.", where=str(folder / "config.json"))]
    known = knows_model_type(kind)
    if known or known is None:
        if config.get("auto_map"):
            return [
                ModelIssue(
                    "warning",
                    "The folder brings code of its own, which is not run; transformers' own implementation is used.",
                )
            ]
        return []
    if config.get("auto_map"):
        return [
            ModelIssue(
                "error",
                f"The model type {kind!r} needs code from the model's own folder, and foreign code is not run.",
                "Use a model whose type transformers implements itself.",
            )
        ]
    return [
        ModelIssue(
            "error",
            f"The installed transformers does not know the model type {kind!r}.",
            "Upgrade transformers, or use another model.",
        )
    ]


def knows_model_type(kind: str) -> bool | None:
    """Whether the installed transformers implements a model type, found in its source without importing it (importing
    it takes seconds); None when transformers is not installed."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return None
    auto = Path(spec.submodule_search_locations[0]) / "models" / "auto"
    quoted = f'"{kind}"'
    texts = [path for path in (auto / "auto_mappings.py", auto / "configuration_auto.py") if path.is_file()]
    return any(quoted in path.read_text("utf-8") for path in texts) if texts else None


def _targets(targets: str | Sequence[str], tensors: Mapping[str, TensorHeader]) -> list[ModelIssue]:
    """Target modules that do not exist, or that training cannot adapt."""
    if isinstance(targets, str):
        return []
    modules = {
        name.removesuffix(".weight") for name, t in tensors.items() if name.endswith(".weight") and len(t.shape) == 2
    }
    found = []
    for target in targets:
        hits = [module for module in modules if module == target or module.endswith(f".{target}")]
        if target.rpartition(".")[2] in ("lm_head", "embed_out", "output"):
            found.append(
                ModelIssue(
                    "error",
                    f"The target {target} is the output matrix, which many models share with their embeddings: an "
                    "adapter there is not supported.",
                    "Leave it out of the targets.",
                    "targets",
                )
            )
        elif not hits:
            short = sorted({m.rpartition(".")[2] for m in modules if _LAYER.fullmatch(m + ".x")})
            found.append(
                ModelIssue(
                    "error",
                    f"No module of this model is called {target}.",
                    f"It has: {', '.join(short)}. Or use all-linear.",
                    "targets",
                )
            )
        elif all(re.search(r"vision|visual|audio", module) for module in hits):
            found.append(
                ModelIssue(
                    "error",
                    f"The target {target} is only in the part of the model that reads images or sound, which text does "
                    "not pass through.",
                    "Choose targets of the language model, or all-linear.",
                    "targets",
                )
            )
    return found


def _leftover_adapter(folder: Path) -> list[ModelIssue]:
    if (folder / "adapter_config.json").is_file() and (folder / "config.json").is_file():
        return [
            ModelIssue(
                "warning",
                "The folder holds an adapter beside the whole model; the adapter is ignored.",
                "Remove adapter_config.json if it is a leftover.",
                str(folder / "adapter_config.json"),
            )
        ]
    return []


# --- what was loaded --------------------------------------------------------------------------------------------------


def require_complete(info: Mapping[str, Any], where: Path) -> None:
    """Raise Unsupported unless a load found every weight in the files.

    `info` is what `from_pretrained(..., output_loading_info=True)` returns: transformers fills missing tensors with
    random numbers and only logs it. Tensors of the files that the model has no place for are an error too, except
    buffers that are computed anyway and the parts of a model that read no text.
    """
    missing = sorted(map(str, info.get("missing_keys") or ()))
    mismatched = sorted(
        str(entry[0] if isinstance(entry, tuple | list) else entry) for entry in info.get("mismatched_keys") or ()
    )
    unexpected = sorted(name for name in map(str, info.get("unexpected_keys") or ()) if not _IGNORABLE.search(name))
    for names, what in (
        (missing, "are not in the files and would be random"),
        (mismatched, "have another shape in the files than config.json says"),
        (unexpected, "are in the files, and the model has no place for them"),
    ):
        if names:
            subject = (
                f"{counted(names, 'tensor')} of the model" if names is not unexpected else counted(names, "tensor")
            )
            raise Unsupported(
                f"{subject} {what}: {some_names(names)}.",
                where=str(where),
                todo="Download the model again, or use a checkpoint that matches its config.json.",
            )


@contextmanager
def whole_model(folder: Path) -> Iterator[Path]:
    """A folder to load the whole model from: `folder`, or a view of it without a leftover adapter.

    Where an adapter_config.json lies beside config.json, transformers would put that adapter on the model, or even load
    the base that it names instead; the view is a temporary folder of links to everything else.
    """
    if not ((folder / "adapter_config.json").is_file() and (folder / "config.json").is_file()):
        yield folder
        return
    with TemporaryDirectory(prefix="tuningfork-model-") as view:
        for path in folder.iterdir():
            if path.name not in ADAPTER_FILES:
                (Path(view) / path.name).symlink_to(path.resolve())
        yield Path(view)
