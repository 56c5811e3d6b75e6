"""Turns weights that cannot be trained as they are (a GGUF file) into a folder of safetensors with an exact tokenizer.
Slow, so model_cache.py runs it once and keeps the result."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path

from engine.core.files import is_disk_full
from engine.gguf import config_fields, header
from engine.models import gguf_source, inspection
from engine.models.default_model import COMPLETE
from engine.training.worker.loading import quiet
from store.errors import NoSpace, Unsupported

Say = Callable[[str], None]

_JOINED = "joined.gguf"
_BYTES_PER_WEIGHT = 2  # kept as bfloat16: what training computes in
_SPARE_BYTES = 64 * 1024**2
REFERENCE_LINES: tuple[str, ...] = (
    "Hello world",
    " leading and  double  spaces ",
    "tabs\tand\nnew\n\n\nlines\r\n",
    "I'm can't we'll THEY'RE o'clock",
    "0 7 42 1984 3.14159 1,000,000 2026-07-01",
    "a1b2c3 x²+y³ ½ Ⅷ ٣",
    "naïve café Grüße Łódź Ω≈ç√",
    "日本語 中文 한국어 ไทย हिन्दी",
    "\U0001f389\U0001f469\u200d\U0001f469\u200d\U0001f467 e\u0301 \u00a0nbsp\u200bzero",
    "def f(x: int) -> str:\n\treturn f'{x!r}'  # 100%",
    "https://example.org/a?b=c&d=1#e",
    "<|im_start|>user\nWho are you?<|im_end|>\n",
    "[INST] <<SYS>> </s><s>",
    '{"key": [1, 2, null]}',
    "…—–“”‘’«»",
    "",
)
"""Texts on which tokenizers differ."""


def prepare(source: Path, out: Path, say: Say) -> Path:
    """Make the safetensors folder `out` from the GGUF file `source`; returns `out`.

    Built in `out`.part, then renamed; `out`/.complete names every file and its size, `out`/source.json the types of the
    file's tensors (engine.models.gguf_source). NoSpace when the disk cannot hold
    it, BadInput or Unsupported when the file cannot be read, or its tokenizer cannot be rebuilt exactly.
    """
    parts = header.shards(source)
    files = sum(part.stat().st_size for part in parts) if len(parts) > 1 else 0
    weights = sum(prod(tensor.shape) for part in parts for tensor in header.read(part).tensors)
    _require_space(out.parent, weights * _BYTES_PER_WEIGHT + files + _SPARE_BYTES)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    try:
        with _explained_when_full(out.parent):
            if len(parts) > 1:  # transformers reads one file only, and would fill the other shards' weights at random
                say(f"Joining the {len(parts)} shards of {source.name}")
                source = header.join(parts, part / _JOINED)
            _convert(source, part, say)
            say("Comparing the tokenizer with the GGUF file's own")
            _correct_tokenizer(source, part)
            (part / _JOINED).unlink(missing_ok=True)
            gguf_source.record(parts, part)
            manifest = {file.name: file.stat().st_size for file in sorted(part.iterdir())}
            (part / COMPLETE).write_text(json.dumps(manifest, indent=1), "utf-8")
            part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return out


def _convert(source: Path, part: Path, say: Say) -> None:
    """Weights, both configurations and tokenizer, as far as transformers reads this architecture."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    quiet()
    say(f"Converting the weights of {source.name}")
    try:
        config = AutoConfig.from_pretrained(source.parent, gguf_file=source.name, trust_remote_code=False)
        for name, value in config_fields.corrections(header.read(source)).items():
            setattr(config, name, value)
        model, info = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            config=config,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, trust_remote_code=False)
    except (ValueError, KeyError, NotImplementedError, ImportError, AttributeError, TypeError, RuntimeError) as error:
        raise Unsupported(
            f"This GGUF file cannot be trained on: {error}",
            where=source.name,
            todo="Chatting with it works; to tune it, use the model's Hugging Face folder (safetensors) instead.",
        ) from error
    inspection.require_complete(info, source)
    model.config._name_or_path = ""  # a local path or a title: neither belongs in files that are passed on
    say("Writing safetensors")
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)


# --- tokenizer: compared with the GGUF's own ------------------------------------------------------------------------


def _correct_tokenizer(source: Path, folder: Path) -> None:
    """Make tokenizer.json give the GGUF's own ids, or raise Unsupported.

    transformers rebuilds a tokenizer from the GGUF's vocabulary and loses the splitter of digits that some models have.
    """
    with gguf_tokenizer(source) as true_ids:
        original = (folder / "tokenizer.json").read_text("utf-8")
        for correct in (None, _split_digits, _prepend_space):
            (folder / "tokenizer.json").write_text(original, "utf-8")
            if correct is not None:
                correct(folder / "tokenizer.json")
            wrong = differing(folder, true_ids, REFERENCE_LINES)
            if not wrong:
                return
    raise Unsupported(
        f"The tokenizer of this GGUF file cannot be rebuilt exactly; it differs on {wrong[0]!r}.",
        where=source.name,
        todo="Chatting with it works; to tune it, use the model's Hugging Face folder (safetensors) instead.",
    )


def _split_digits(path: Path) -> None:
    """Put the splitter that makes every digit a token of its own in front of the byte-level one."""
    config = json.loads(path.read_text("utf-8"))
    steps = config["pre_tokenizer"]
    digits = {"type": "Digits", "individual_digits": True}
    rest = steps["pretokenizers"] if steps and steps["type"] == "Sequence" else [steps] if steps else []
    config["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, *rest]}
    path.write_text(json.dumps(config, ensure_ascii=False), "utf-8")


def _prepend_space(path: Path) -> None:
    """Put the space of SentencePiece's dummy prefix into the normaliser, as Llama 2's and Mistral's own files have it:
    at the start of every piece of text between control tokens, also before a space."""
    config = json.loads(path.read_text("utf-8"))
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    config["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace]}
    config["pre_tokenizer"] = None
    path.write_text(json.dumps(config, ensure_ascii=False), "utf-8")


def differing(folder: Path, true_ids: Callable[[str], list[int]], lines: Sequence[str]) -> list[str]:
    """Which of `lines` the folder's tokenizer.json tokenises differently from `true_ids`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [line for line in lines if tokenizer.encode(line, add_special_tokens=False).ids != true_ids(line)]


@contextlib.contextmanager
def gguf_tokenizer(path: Path) -> Iterator[Callable[[str], list[int]]]:
    """llama.cpp's tokenisation of a GGUF file (vocabulary only): a function from text to ids, control tokens parsed."""
    import llama_cpp

    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    try:
        yield lambda text: model.tokenize(text.encode(), add_bos=False, special=True)
    finally:
        model.close()


# --- space on the disk ----------------------------------------------------------------------------------------------


def _require_space(folder: Path, needed: int) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpace(
            f"Preparing the model needs {needed / 1e6:.0f} MB; {free / 1e6:.0f} MB are free.",
            where=str(folder),
            todo="Free some space, or choose another home with --home.",
        )


@contextlib.contextmanager
def _explained_when_full(folder: Path) -> Iterator[None]:
    """Raise NoSpace when the disk fills up meanwhile; libraries wrap the reason in errors of their own."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error) or shutil.disk_usage(folder).free < 1024**2:
            todo = "Free some space and try again; nothing incomplete was left behind."
            raise NoSpace("The disk filled up while the model was prepared.", where=str(folder), todo=todo) from error
        raise
