"""The proof of an export: what was made is held against the run, and says whether it is the same model.
Checks only read; making files and deciding their fate is make.py's."""

from __future__ import annotations

import difflib
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from gguf.quants import dequantize

from engine.evaluation.judges import contains
from engine.export import ollama
from engine.export.reference_measurements import Answer, Bench, kl
from engine.gguf.llama_library import vocabulary
from engine.gguf.model import types_of
from engine.gguf.tensors import MergedWeights, float32, is_plain, read_adapter, table_of
from engine.models.chat_template import ChatTemplate
from engine.models.refs import Resolved
from store.errors import TuningforkError

State = Literal["held", "warn", "failed", "skipped"]
# Mean KL divergence in nats: above the first a warning, above the second a failure.
LIMITS = {"exact": (1e-3, 1e-3), "q8_0": (0.02, 0.02), "coarse": (0.1, 0.5)}
_LINES = (
    "The quick brown fox jumps over the lazy dog.", "  two  spaces\tand a tab\n\nand lines\n",
    "2026-11-21 3.14159 1,000",
    "naïve café, Straße, 日本語のテキスト, русский, العربية, 👩‍💻🏳️‍🌈",
    "def f(x):\n    return x**2  # ok", "it's I'LL we've CAN'T",
    "<|im_start|>user", "</s><s>[INST]", "\u00a0\u2003\u200b", "", " ", "a" * 200,
)  # fmt: skip
_RANDOM_LINES = 300


@dataclass(frozen=True, slots=True)
class Check:
    """One question that an export had to answer, and the answer in a sentence."""

    name: str
    state: State
    said: str


@dataclass(frozen=True, slots=True)
class Made:
    """What was just written: its folder, and the GGUF file in it, when it is one."""

    format: str
    quant: str | None
    folder: Path
    gguf: Path | None = None


def prove(bench: Bench, made: Made) -> dict[str, Any]:
    """Every check that fits the format. The report is JSON: `held`, `checks`, `kl`, `types`, `seconds`."""
    began = time.monotonic()
    report: dict[str, Any] = {"kl": None, "types": {}}
    checks = [check for step in _steps(made) for check in step(bench, made, report)]
    report["checks"] = [asdict(check) for check in checks]
    report["held"] = not any(check.state == "failed" for check in checks)
    report["seconds"] = round(time.monotonic() - began, 1)
    return report


def reasons(report: dict[str, Any]) -> str:
    """Why a proof failed, in one line."""
    return " ".join(check["said"] for check in report["checks"] if check["state"] == "failed")


def _steps(made: Made) -> list[Any]:
    if made.format in ("gguf", "ollama"):
        own = [_gguf_contents, _gguf_tokens, _gguf_logits, _gguf_answers]
        return [*own, _modelfile] if made.format == "ollama" else own
    if made.format == "gguf-adapter":
        return [_lora_tensors, _lora_logits, _lora_answers]
    return [_folder_tensors, _folder_template, _folder_logits_and_answers]


# ---------------------------------------------------------------- GGUF files


def _gguf_contents(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    bench.tell("Reading the file", 0, 1)
    reader = gguf.GGUFReader(made.gguf)  # seconds for a large vocabulary: once
    broken = [t.name for t in reader.tensors if not np.isfinite(dequantize(t.data, t.tensor_type)).all()]
    report["types"] = types_of(reader)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report["types"].items(), key=lambda item: -item[1]))
    said = f"{len(reader.tensors)} tensors, all finite: {kinds}."
    yield _verdict("tensors", not broken, said, f"Not finite: {broken[:3]}.")
    if is_plain(bench.adapter):  # the writer raises when one is left over
        yield Check("adapter", "held", f"All {len(read_adapter(bench.adapter))} LoRA pairs went into the weights.")
    field = reader.get_field("tokenizer.chat_template")
    same = field is not None and field.contents() == bench.template.source
    yield _verdict("template", same, "The run's chat template, verbatim.", "The chat template is not the run's.")


def _gguf_tokens(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    assert made.gguf is not None
    lines = [*_LINES, *_random_lines()]
    with vocabulary(made.gguf) as vocab:
        if vocab is None:
            yield Check("tokens", "failed", "llama.cpp refuses the file's vocabulary.")
            return
        wrong = [line for line in lines if vocab.tokenize(line) != bench.template.ids(line)]
        said = f"The same ids as Hugging Face's tokenizer on {len(lines)} texts."
        yield _verdict("tokens", not wrong, said, f"{len(wrong)} of {len(lines)} texts differ, first {wrong[:1]!r}.")
        eot = bench.template.eot_id
        name = bench.template.decode([eot])
        yield _verdict("end of turn", vocab.ends(eot), f"Generation ends at {name}.", f"It would not stop at {name}.")


def _gguf_logits(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    assert made.gguf is not None and made.quant is not None
    limit = "exact" if made.quant in ("f32", "f16", "bf16") else "q8_0" if made.quant == "q8_0" else "coarse"
    yield _logits(bench, bench.measure(made.gguf), limit, report)


def _gguf_answers(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    assert made.gguf is not None
    itself = Resolved(str(made.gguf), "gguf", "the file", gguf=made.gguf)
    yield from _answers(bench, bench.ask(itself))


def _modelfile(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    text = (made.folder / "Modelfile").read_text("utf-8")
    differ = ollama.check(bench.model.tokenizer or bench.folder, text)
    said = "Ollama's template renders conversations as the model's own does."
    yield _verdict("Modelfile", not differ, said, f"Ollama's template differs: {differ[:1]}.")


# ---------------------------------------------------------------- GGUF adapters


def _lora_tensors(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    reader = gguf.GGUFReader(made.gguf)
    tensors, pairs = reader.tensors, len(read_adapter(bench.adapter))
    report["types"] = types_of(reader)
    finite = all(np.isfinite(t.data).all() for t in tensors)
    yield _verdict("tensors", finite, f"{len(tensors)} tensors, all finite.", "Some values are not finite.")
    yield _verdict(
        "adapter", len(tensors) == 2 * pairs, f"All {pairs} LoRA pairs are in it.", f"{len(tensors)} of {2 * pairs}."
    )


def _lora_logits(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    if bench.model.gguf is None:
        yield Check("logits", "skipped", "The base is no GGUF file here: nothing to try the adapter on.")
        return
    yield _logits(bench, bench.measure(bench.model.gguf, made.gguf), "coarse", report)


def _lora_answers(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    if bench.model.gguf is None:
        yield Check("answers", "skipped", "The base is no GGUF file here: export gguf to have it tried.")
        return
    # A folder with this adapter alone, so that nothing else can answer for it.
    itself = Resolved(
        str(made.gguf), "run", "the adapter", base=bench.base, folder=bench.folder, gguf=bench.model.gguf,
        adapter=bench.adapter, adapter_gguf=made.gguf, tokenizer=bench.model.tokenizer,
    )  # fmt: skip
    yield from _answers(bench, bench.ask(itself))


# ---------------------------------------------------------------- folders


def _folder_tensors(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    name = "adapter_model.safetensors" if made.format == "adapter" else "model.safetensors"
    tensors = table_of(made.folder / name, "Export it again.")
    broken = [key for key, tensor in tensors.items() if not np.isfinite(float32(tensor)).all()]
    for tensor in tensors.values():
        report["types"][tensor.dtype] = report["types"].get(tensor.dtype, 0) + 1
    own = (
        MergedWeights(bench.folder).tensors
        if made.format == "merged"
        else table_of(bench.adapter / name, "Train it again.")
    )
    whole = not broken and tensors.keys() == own.keys()
    yield _verdict(
        "tensors", whole, f"{len(tensors)} tensors, all finite.", f"{len(tensors)} of {len(own)}; {broken[:3]}."
    )


def _folder_template(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    own = ChatTemplate.load(made.folder)
    lines = [*_LINES, *_random_lines()]
    yield _verdict(
        "tokens",
        all(own.ids(line) == bench.template.ids(line) for line in lines),
        f"The run's tokenizer: the same ids on {len(lines)} texts.",
        "Its tokenizer is not the run's.",
    )
    yield _verdict("template", own.source == bench.template.source, "The run's, verbatim.", "Not the run's template.")
    name = own.decode([own.eot_id])
    yield _verdict("end of turn", own.eot_id in own.stop_ids, f"Generation ends at {name}.", f"{name} ends nothing.")


def _folder_logits_and_answers(bench: Bench, made: Made, report: dict[str, Any]) -> Iterator[Check]:
    try:
        if made.format == "adapter":
            logits, answers = bench.reference(bench.folder, made.folder, None)
        else:
            logits, answers = bench.reference(made.folder, None, None)
    except TuningforkError as error:
        yield Check("logits", "failed", str(error))
        return
    yield _logits(bench, logits, "exact", report)
    yield from _answers(bench, answers)


# ---------------------------------------------------------------- shared verdicts


def _verdict(name: str, held: bool, good: str, bad: str) -> Check:
    return Check(name, "held" if held else "failed", good if held else bad)


def _logits(bench: Bench, measured: list[np.ndarray], limit: str, report: dict[str, Any]) -> Check:
    try:
        reference = bench.logits
    except TuningforkError as error:
        return Check("logits", "skipped", f"No reference: {error}")
    bench.tell("Comparing logits", 1, 1)
    far = kl(reference, measured)
    report["kl"] = float(f"{far:.3g}")
    pairs = list(zip(reference, measured, strict=True))
    same = np.concatenate([p.argmax(-1) == q[:, : p.shape[1]].argmax(-1) for p, q in pairs]).mean()
    warn, fail = LIMITS[limit]
    state: State = "failed" if not far <= fail else "warn" if far > warn else "held"
    positions = sum(len(row) for row in reference)
    said = (
        f"KL {far:.2g} nats from transformers with the adapter, over {positions} positions; {same:.0%} same first token"
    )
    return Check("logits", state, f"{said} (limit {fail:g}).")


def _answers(bench: Bench, said: list[Answer]) -> Iterator[Check]:
    """Does it still say what tuning taught, does it stop, does it pass the probes: held against the run's own lane."""
    base, tuned = bench.base_answers, bench.tuned_answers
    changed = [i for i in range(len(base)) if tuned[i].text != base[i].text]
    kept = [i for i in changed if _nearer(said[i].text, tuned[i].text, base[i].text)]
    text = f"{len(kept)} of {len(changed)} answers that tuning changed are the run's rather than the base's"
    good = len(kept) >= 0.8 * len(changed)
    yield _verdict("answers", good, f"{text}.", f"The tuning got lost: {text}.")
    stops, wanted = sum(a.stopped for a in said), sum(a.stopped for a in tuned)
    text = f"{stops} of {len(said)} answers ended by themselves, {wanted} of the run's own"
    yield _verdict("stops", stops >= wanted - max(1, len(said) // 10), f"{text}.", f"It does not stop: {text}.")
    if bench.probes:
        first = len(said) - len(bench.probes)
        passed, before = (
            sum(contains.judgement(p, a.text).passed for p, a in zip(bench.probes, answers[first:], strict=True))
            for answers in (said, tuned)
        )
        text = f"{passed} of {len(bench.probes)} probes passed, {before} by the run's own lane"
        yield _verdict("probes", passed >= before - max(1, len(bench.probes) // 10), f"{text}.", f"{text}.")


def _nearer(text: str, one: str, other: str) -> bool:
    """Whether a text is more like `one` than like `other`, word by word."""
    words = text.split()
    near, far = (difflib.SequenceMatcher(None, words, each.split(), False).ratio() for each in (one, other))
    return near > far or text == one


def _random_lines() -> list[str]:
    """Texts of mixed scripts, the same every time."""
    rng = random.Random(0)
    kinds = (
        "abcdefghij klmnop QRSTU",
        "0123456789.,-+ ",
        "äöüßéñ çÅ",
        "日本語中文한국어",
        "🙂👍🏽🚀é\u0301",
        "{}[]()<>|/\\\"'`~!@#$%^&*\n\t ",
    )
    pick = ["".join(rng.choices(kinds[rng.randrange(len(kinds))], k=rng.randrange(1, 12))) for _ in range(4000)]
    return ["".join(rng.sample(pick, 4)) for _ in range(_RANDOM_LINES)]
