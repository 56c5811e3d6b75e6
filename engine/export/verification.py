"""The verification of an export: what was made is compared with the run, to see whether it is the same model.
Steps only read; which steps a target has is said at the end, making, keeping and rejecting files is make.py's."""

from __future__ import annotations

import difflib
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from gguf.quants import dequantize

from engine.evaluation import judges
from engine.export import ollama
from engine.export.reference_measurements import GivenAnswer, ReferenceMeasurements, kl
from engine.gguf import tokenizer_file
from engine.gguf.llama_library import vocabulary
from engine.gguf.model import types_of
from engine.gguf.normaliser import Normaliser
from engine.gguf.tensors import MergedWeights, float32, is_plain, read_adapter, table_of
from engine.models.chat_template import ChatTemplate
from engine.models.refs import Resolved
from store.errors import TuningforkError
from store.records import Probe

State = Literal["passed", "warn", "failed", "skipped"]
# Mean KL divergence in nats: above the first a warning, above the second a failure.
LIMITS = {"exact": (1e-3, 1e-3), "q8_0": (0.02, 0.02), "coarse": (0.1, 0.5)}
PROBES_LEVEL = 0.1
"""A loss of probes that chance explains this often or less is a failure."""
_LINES = (
    "The quick brown fox jumps over the lazy dog.", "  two  spaces\tand a tab\n\nand lines\n",
    "2026-11-21 3.14159 1,000",
    "naïve café, Straße, 日本語のテキスト, русский, العربية, 👩‍💻🏳️‍🌈",
    "def f(x):\n    return x**2  # ok", "it's I'LL we've CAN'T",
    "<|im_start|>user", "</s><s>[INST]", "\u00a0\u2003\u200b", "", " ", "a" * 200,
)  # fmt: skip
_NORMALISED = ("e\u0301", "Zu\u0308rich", "\ufb01ne", "\uff21\u00b2 \u2460", "Hello WORLD", "\u1112\u1161\u11ab")
"""Texts that common normalisers change."""
_RANDOM_LINES = 300
ADAPTER_FILE = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class VerificationCheck:
    """One question that an export had to answer, and the answer in a sentence."""

    name: str
    state: State
    said: str


@dataclass(frozen=True, slots=True)
class Written:
    """What was just written: its folder, and the GGUF file in it and its quant, when it is one."""

    folder: Path
    gguf: Path | None = None
    quant: str | None = None


Report = dict[str, Any]
Checks = Iterator[VerificationCheck]
Step = Callable[[ReferenceMeasurements, Written, Report], Checks]
"""A step of a verification: yields its checks, and may add to the report."""
NOT_VERIFIED: dict[str, Any] = {"passed": True, "held": True, "checks": [], "kl": None, "types": {}}
"""The report of an export that was not checked."""


def verify(measurements: ReferenceMeasurements, written: Written, steps: Sequence[Step]) -> dict[str, Any]:
    """Run the steps. The report is JSON: `passed`, `checks`, `kl`, `types`, `seconds`; `held` is `passed` under the
    name that scripts know."""
    began = time.monotonic()
    report: dict[str, Any] = {"kl": None, "types": {}}
    checks = [check for step in steps for check in step(measurements, written, report)]
    report["checks"] = [asdict(check) for check in checks]
    report["passed"] = report["held"] = not any(check.state == "failed" for check in checks)
    report["seconds"] = round(time.monotonic() - began, 1)
    return report


def passed(report: Mapping[str, Any]) -> bool:
    """Whether a report is of an export that may be used."""
    return bool(report.get("passed", report.get("held", True)))


def reasons(report: Mapping[str, Any]) -> str:
    """Why a verification failed, in one line."""
    return " ".join(check["said"] for check in report["checks"] if check["state"] == "failed")


# ---------------------------------------------------------------- GGUF files


def _gguf_contents(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    measured.tell("Reading the file", 0, 0)
    reader = gguf.GGUFReader(written.gguf)  # seconds for a large vocabulary: once
    broken = [t.name for t in reader.tensors if not np.isfinite(dequantize(t.data, t.tensor_type)).all()]
    report["types"] = types_of(reader)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report["types"].items(), key=lambda item: -item[1]))
    said = f"{len(reader.tensors)} tensors, all finite: {kinds}."
    yield _verdict("tensors", not broken, said, f"Not finite: {broken[:3]}.")
    if is_plain(measured.adapter):  # the writer raises when one is left over
        yield VerificationCheck(
            "adapter", "passed", f"All {len(read_adapter(measured.adapter))} LoRA pairs went into the weights."
        )
    field = reader.get_field("tokenizer.chat_template")
    same = field is not None and field.contents() == measured.template.source
    yield _verdict("template", same, "The run's chat template, verbatim.", "The chat template is not the run's.")


def _gguf_tokens(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    assert written.gguf is not None
    with vocabulary(written.gguf) as vocab:
        if vocab is None:
            yield VerificationCheck("tokens", "failed", "llama.cpp refuses the file's vocabulary.")
            return
        normaliser = tokenizer_file.load(measured.model.tokenizer or measured.folder).normaliser
        yield from compare_tokens(vocab.tokenize, measured.template.ids, normaliser)
        eot = measured.template.eot_id
        name = measured.template.decode([eot])
        yield _verdict("end of turn", vocab.ends(eot), f"Generation ends at {name}.", f"It would not stop at {name}.")


def compare_tokens(
    theirs: Callable[[str], list[int]], ours: Callable[[str], list[int]], normaliser: Normaliser
) -> Checks:
    """Token ids of llama.cpp (`theirs`) and of Hugging Face's tokenizer (`ours`) on the test texts.

    They must be equal on texts that the tokenizer's normaliser leaves as they are. llama.cpp has no normaliser: where
    one changes a text, other ids are a warning that says what differs in use.
    """
    texts = [*_LINES, *_random_lines()]
    lines = [line for line in dict.fromkeys(map(normaliser, texts)) if normaliser(line) == line]
    wrong = [line for line in lines if theirs(line) != ours(line)]
    said = f"The same ids as Hugging Face's tokenizer on {len(lines)} texts."
    yield _verdict("tokens", not wrong, said, f"{len(wrong)} of {len(lines)} texts differ, first {wrong[:1]!r}.")
    if not normaliser.names:
        return
    changed = [line for line in [*_NORMALISED, *texts] if normaliser(line) != line]
    other = [line for line in changed if theirs(line) != ours(line)]
    same = f"llama.cpp gives the same ids for texts that the tokenizer normalises ({', '.join(normaliser.names)})."
    if not other:
        yield VerificationCheck("normaliser", "passed", same)
        return
    yield VerificationCheck(
        "normaliser",
        "warn",
        f"The tokenizer {normaliser.words} before it reads a text; llama.cpp does not. {len(other)} of {len(changed)} "
        f"texts that this changes get other ids in llama.cpp and what is built on it, first {other[0]!r}. Send "
        f"{normaliser(other[0])!r} there, or chat in Tuningfork, which normalises.",
    )


def _gguf_logits(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    assert written.gguf is not None and written.quant is not None
    limit = "exact" if written.quant in ("f32", "f16", "bf16") else "q8_0" if written.quant == "q8_0" else "coarse"
    yield _logits(measured, measured.measure(written.gguf), limit, report)


def _gguf_answers(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    assert written.gguf is not None
    itself = Resolved(str(written.gguf), "gguf", "the file", gguf=written.gguf)
    answers = measured.ask(itself)
    if speeds := [answer.tokens_per_s for answer in answers if answer.tokens_per_s]:
        report["tokens_per_s"] = round(statistics.median(speeds), 1)
    yield from _answers(measured, answers)


def _modelfile(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    text = (written.folder / "Modelfile").read_text("utf-8")
    differ = ollama.check(measured.model.tokenizer or measured.folder, text)
    said = "Ollama's template renders conversations as the model's own does."
    yield _verdict("Modelfile", not differ, said, f"Ollama's template differs: {differ[:1]}.")


# ---------------------------------------------------------------- GGUF adapters


def _lora_tensors(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    reader = gguf.GGUFReader(written.gguf)
    tensors, pairs = reader.tensors, len(read_adapter(measured.adapter))
    report["types"] = types_of(reader)
    finite = all(np.isfinite(t.data).all() for t in tensors)
    yield _verdict("tensors", finite, f"{len(tensors)} tensors, all finite.", "Some values are not finite.")
    yield _verdict(
        "adapter", len(tensors) == 2 * pairs, f"All {pairs} LoRA pairs are in it.", f"{len(tensors)} of {2 * pairs}."
    )


def _lora_logits(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    if measured.model.gguf is None:
        yield VerificationCheck("logits", "skipped", "The base is not a GGUF file here: not compared.")
        return
    yield _logits(measured, measured.measure(measured.model.gguf, written.gguf), "coarse", report)


def _lora_answers(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    if measured.model.gguf is None:
        yield VerificationCheck(
            "answers", "skipped", "The base is not a GGUF file here: not asked. Export gguf instead."
        )
        return
    # A folder with this adapter alone, so that nothing else can answer for it.
    itself = Resolved(
        str(written.gguf), "run", "the adapter", base=measured.base, folder=measured.folder, gguf=measured.model.gguf,
        adapter=measured.adapter, adapter_gguf=written.gguf, tokenizer=measured.model.tokenizer,
    )  # fmt: skip
    yield from _answers(measured, measured.ask(itself))


# ---------------------------------------------------------------- folders


def _folder_tensors(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    is_adapter = (written.folder / ADAPTER_FILE).is_file()
    name = ADAPTER_FILE if is_adapter else "model.safetensors"
    tensors = table_of(written.folder / name, "Export it again.")
    broken = [key for key, tensor in tensors.items() if not np.isfinite(float32(tensor)).all()]
    for tensor in tensors.values():
        report["types"][tensor.dtype] = report["types"].get(tensor.dtype, 0) + 1
    if is_adapter:
        own = table_of(measured.adapter / name, "Train it again.")
    else:
        own = MergedWeights(measured.folder, measured.adapter if is_plain(measured.adapter) else None).tensors
    # what PEFT merged may have an output matrix of its own, see engine.training.worker.merge
    whole = not broken and own.keys() <= tensors.keys() <= own.keys() | {"lm_head.weight"}
    yield _verdict(
        "tensors", whole, f"{len(tensors)} tensors, all finite.", f"{len(tensors)} of {len(own)}; {broken[:3]}."
    )


def _folder_template(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    own = ChatTemplate.load(written.folder)
    lines = [*_LINES, *_random_lines()]
    yield _verdict(
        "tokens",
        all(own.ids(line) == measured.template.ids(line) for line in lines),
        f"The run's tokenizer: the same ids on {len(lines)} texts.",
        "Its tokenizer is not the run's.",
    )
    yield _verdict(
        "template", own.source == measured.template.source, "The run's, verbatim.", "Not the run's template."
    )
    name = own.decode([own.eot_id])
    yield _verdict("end of turn", own.eot_id in own.stop_ids, f"Generation ends at {name}.", f"{name} ends nothing.")


def _folder_logits_and_answers(measured: ReferenceMeasurements, written: Written, report: Report) -> Checks:
    try:
        if (written.folder / ADAPTER_FILE).is_file():
            logits, answers = measured.reference(measured.folder, written.folder, None)
        else:
            logits, answers = measured.reference(written.folder, None, None)
    except TuningforkError as error:
        yield VerificationCheck("logits", "failed", str(error))
        return
    yield _logits(measured, logits, "exact", report)
    yield from _answers(measured, answers)


# ---------------------------------------------------------------- shared verdicts


def _verdict(name: str, good: bool, said: str, wrong: str) -> VerificationCheck:
    return VerificationCheck(name, "passed" if good else "failed", said if good else wrong)


def _logits(measured: ReferenceMeasurements, logits: list[np.ndarray], limit: str, report: Report) -> VerificationCheck:
    try:
        reference = measured.logits
    except TuningforkError as error:
        return VerificationCheck("logits", "skipped", f"No reference: {error}")
    measured.tell("Comparing logits", 1, 1)
    far = kl(reference, logits)
    report["kl"] = float(f"{far:.3g}")
    pairs = list(zip(reference, logits, strict=True))
    same = np.concatenate([p.argmax(-1) == q[:, : p.shape[1]].argmax(-1) for p, q in pairs]).mean()
    warn, fail = LIMITS[limit]
    state: State = "failed" if not far <= fail else "warn" if far > warn else "passed"
    positions = sum(len(row) for row in reference)
    said = (
        f"KL {far:.2g} nats from transformers with the adapter, over {positions} positions; {same:.0%} same first token"
    )
    return VerificationCheck("logits", state, f"{said} (limit {fail:g}).")


def _answers(measured: ReferenceMeasurements, said: list[GivenAnswer]) -> Checks:
    """Does it still say what tuning taught, does it stop, does it pass the probes, as far as the run itself does?"""
    base, tuned = measured.base_answers, measured.tuned_answers
    changed = [i for i in range(len(base)) if tuned[i].text != base[i].text]
    kept = [i for i in changed if _nearer(said[i].text, tuned[i].text, base[i].text)]
    text = f"{len(kept)} of {len(changed)} answers that tuning changed are the run's rather than the base's"
    good = len(kept) >= 0.8 * len(changed)
    yield _verdict("answers", good, f"{text}.", f"The tuning got lost: {text}.")
    stops, wanted = sum(a.stopped for a in said), sum(a.stopped for a in tuned)
    text = f"{stops} of {len(said)} answers ended by themselves, {wanted} of the run's own"
    yield _verdict("stops", stops >= wanted - max(1, len(said) // 10), f"{text}.", f"It does not stop: {text}.")
    if measured.probes:
        first = len(said) - len(measured.probes)
        yield compare_probes(measured.probes, [a.text for a in said[first:]], [a.text for a in tuned[first:]])


def compare_probes(probes: Sequence[Probe], said: Sequence[str], by_the_run: Sequence[str]) -> VerificationCheck:
    """Does it pass the probes, as far as the run itself does? `said` and `by_the_run` are answers, one a probe.

    One in ten may be lost. Beyond that the answers are paired: with L probes lost and G gained, the chance of at least
    L of L + G under equal odds (a one-sided sign test). Where that is above `PROBES_LEVEL` the difference is a warning,
    because answers near a tie change with the order of a sum: a float16 file with a KL of 5e-6 passed 17 probes where
    the run passed 19. More than half of what the run passes may never be lost.

    Worked example: of 10 probes the run passes 9. 8 passed: one lost, passed. 7: L = 2, G = 0, chance 0.25, a warning.
    5: L = 4, chance 0.06, failed.
    """
    before, after = (
        [_passed(probe, text) for probe, text in zip(probes, texts, strict=True)] for texts in (by_the_run, said)
    )
    lost = [probe for probe, was, is_now in zip(probes, before, after, strict=True) if was and not is_now]
    fewer, moved = sum(before) - sum(after), sum(was != is_now for was, is_now in zip(before, after, strict=True))
    text = f"{sum(after)} of {len(probes)} probes passed, {sum(before)} by the run itself"
    if fewer <= max(1, len(probes) // 10):
        return VerificationCheck("probes", "passed", f"{text}.")
    text = f"{text}; lost: {', '.join(repr(probe.question) for probe in lost[:3])}{' …' if len(lost) > 3 else ''}"
    chance = sum(math.comb(moved, hits) for hits in range(len(lost), moved + 1)) / 2**moved
    if chance > PROBES_LEVEL and 2 * fewer <= sum(before):
        return VerificationCheck("probes", "warn", f"{text}. Chance may explain it: ask more probes.")
    return VerificationCheck("probes", "failed", f"{text}.")


def _passed(probe: Probe, answer: str) -> bool:
    """By the probe's judge, which asks no model: others were refused when the export was planned."""
    return bool(judges.BY_TEXT[probe.judge or judges.DEFAULT.name](probe, answer).passed)


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


# ---------------------------------------------------------------- the steps of each kind of file

GGUF: tuple[Step, ...] = (_gguf_contents, _gguf_tokens, _gguf_logits, _gguf_answers)
OLLAMA: tuple[Step, ...] = (*GGUF, _modelfile)
GGUF_ADAPTER: tuple[Step, ...] = (_lora_tensors, _lora_logits, _lora_answers)
MERGED_FOLDER: tuple[Step, ...] = (_folder_tensors, _folder_template, _folder_logits_and_answers)
ADAPTER_FOLDER: tuple[Step, ...] = MERGED_FOLDER
