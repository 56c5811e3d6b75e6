"""The one-pass GGUF export on tiny random models of every architecture: llama.cpp must read what transformers meant.
The official converter, unpacked from the source archive of the installed llama-cpp-python, is the second opinion."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from engine.export import official_converter
from engine.gguf.hyperparameters import DEFAULTS
from engine.gguf.llama_library import vocabulary
from engine.gguf.metadata import FileMetadata
from engine.gguf.model import quantise, types_of, write_gguf
from store.errors import BadInput, Unsupported, WorkerError
from store.home import Home
from tests.archs import ARCHS, add_lora, make

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archs")
    for name in ARCHS:
        make(name, root / name)
    return root


def tensors(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    return {t.name: (t.tensor_type.name, np.array(t.data)) for t in gguf.GGUFReader(path).tensors}


def reference(folder: Path, adapter: Path | None, ids: list[int]) -> np.ndarray:
    """transformers' logits in float32, shape (tokens, vocabulary)."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if adapter:
        model = PeftModel.from_pretrained(model, adapter).eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def answered(path: Path, ids: list[int], lora: Path | None = None) -> np.ndarray:
    """llama.cpp's logits for the same ids, shape (tokens, vocabulary)."""
    import ctypes

    import llama_cpp as lib

    model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    assert model, f"llama.cpp refuses {path.name}"
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 256, 2, 2
    context = lib.llama_init_from_model(model, params)
    if lora:
        adapter = lib.llama_adapter_lora_init(model, str(lora).encode())
        assert adapter, "llama.cpp refuses the adapter"
        lib.llama_set_adapters_lora(
            context, (lib.llama_adapter_lora_p_ctypes * 1)(adapter), 1, (ctypes.c_float * 1)(1.0)
        )
    rows = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    out = []
    for token in ids:
        assert lib.llama_decode(context, lib.llama_batch_get_one((lib.llama_token * 1)(token), 1)) == 0
        out.append(np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), (rows,)).copy())
    lib.llama_free(context)
    lib.llama_model_free(model)
    return np.stack(out)


def ids_of(folder: Path) -> list[int]:
    text = "The river rises in the mountains and flows through a wide valley. In 1923 a flood."
    return list(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids)[:60]


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """How often both put the same token first."""
    return float((a.argmax(-1) == b.argmax(-1)).mean())


@pytest.mark.parametrize("name", ARCHS)
def test_llama_cpp_computes_what_transformers_does(models: Path, tmp_path: Path, name: str) -> None:
    adapter = add_lora(models / name, tmp_path / "adapter")
    out = write_gguf(models / name, adapter, tmp_path / "model.gguf", "f32", FileMetadata(name))
    ids = ids_of(models / name)
    wanted = reference(models / name, adapter, ids)
    assert np.abs(wanted - reference(models / name, None, ids)).max() > 0.1  # the adapter matters at all
    assert np.abs(wanted - answered(out, ids)[:, : wanted.shape[1]]).max() < 2e-2
    assert agreement(wanted, answered(out, ids)[:, : wanted.shape[1]]) == 1.0


@pytest.mark.parametrize(
    "options", [{"use_rslora": True}, {"alpha_pattern": {"q_proj": 32, "layers.1.mlp.up_proj": 1}}], ids=str
)
def test_every_scale_of_peft_is_honoured(models: Path, tmp_path: Path, options: dict) -> None:
    from engine.gguf.adapter import convert

    base = models / "tinyllama"
    adapter = add_lora(base, tmp_path / "adapter", **options)
    merged = write_gguf(base, adapter, tmp_path / "merged.gguf", "f32", FileMetadata("merged"))
    plain = write_gguf(base, None, tmp_path / "plain.gguf", "f32", FileMetadata("plain"))
    lora = convert(adapter, base, tmp_path / "adapter.gguf")
    ids = ids_of(base)
    wanted = reference(base, adapter, ids)
    assert agreement(wanted, answered(merged, ids)) == 1.0
    assert agreement(wanted, answered(plain, ids, lora)) == 1.0


@pytest.mark.parametrize("name", ARCHS)
def test_token_ids_equal_those_of_hugging_face(models: Path, tmp_path: Path, name: str) -> None:
    folder = models / name
    # llama.cpp trims after control tokens when a model is *called* phi3, so the name must not be
    out = write_gguf(folder, None, tmp_path / "model.gguf", "f16", FileMetadata("tiny"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with vocabulary(out) as vocab:
        assert vocab is not None
        lines = [*random_lines(2000), "<|im_start|>user\nHi<|im_end|>\n", "a<tool_call>b", " x <|endoftext|>y"]
        wrong = [line for line in lines if vocab.tokenize(line) != tokenizer.encode(line, add_special_tokens=False).ids]
        assert not wrong, f"{len(wrong)} of {len(lines)}, for example {wrong[0]!r}"
        assert vocab.special_token("eos") == tokenizer.token_to_id("<|im_end|>")
        assert vocab.ends(vocab.special_token("eos"))


def random_lines(count: int) -> list[str]:
    """Words, numbers, punctuation, white space and letters of several scripts, in NFC, from a fixed seed."""
    rng = random.Random(7)
    bits = [
        "the", "river", "Hello", "don't", "I'll", "x", "Ünïcödé", "naïve", "мир", "Привет", "日本", "한국", "مرحبا",
        "1", "22", "333", "4567", "3.14", "1e-5", "0x1F", ",", ".", "!", "?!", "...", "(", ")", "{", "}", "=>", "_",
        " ", "  ", "\n", "\n\n", "\t", " \n",
    ]  # fmt: skip
    return ["".join(rng.choice(bits) + rng.choice(["", " "]) for _ in range(rng.randint(1, 14))) for _ in range(count)]


def test_quantised_files_still_agree(models: Path, tmp_path: Path) -> None:
    base, ids = models / "smollm", ids_of(models / "smollm")
    full = write_gguf(base, None, tmp_path / "f16.gguf", "f16", FileMetadata("tiny"))
    wanted = reference(base, None, ids)
    for quant in ("q8_0", "bf16"):
        out = write_gguf(base, None, tmp_path / f"{quant}.gguf", quant, FileMetadata("tiny"))
        assert agreement(wanted, answered(out, ids)) > 0.9
    small = quantise(full, tmp_path / "q4_0.gguf", "q4_0")
    assert small.stat().st_size < full.stat().st_size
    assert "Q4_0" in types_of(gguf.GGUFReader(small))


def test_a_foreign_or_broken_adapter_is_refused_by_name(models: Path, tmp_path: Path) -> None:
    adapter = add_lora(models / "tinyllama", tmp_path / "adapter")
    with pytest.raises(BadInput, match="another base"):
        write_gguf(models / "phi3", adapter, tmp_path / "x.gguf", "f16", FileMetadata("x"))
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadInput, match="cut off"):
        write_gguf(models / "tinyllama", adapter, tmp_path / "x.gguf", "f16", FileMetadata("x"))
    with pytest.raises(Unsupported, match="use_dora"):
        write_gguf(
            models / "tinyllama",
            add_lora(models / "tinyllama", tmp_path / "dora", use_dora=True),
            tmp_path / "x.gguf",
            "f16",
            FileMetadata("x"),
        )
    assert list(tmp_path.glob("x.gguf*")) == []


def test_cancelling_leaves_nothing(models: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gguf(models / "qwen2", None, tmp_path / "x.gguf", "f16", FileMetadata("x"), stop)
    assert list(tmp_path.iterdir()) == []


def test_defaults_are_those_of_the_configuration_classes() -> None:
    import transformers

    classes = {
        "gemma2": "Gemma2Config",
        "gemma3_text": "Gemma3TextConfig",
        "phi3": "Phi3Config",
        "mistral": "MistralConfig",
    }
    for kind, ours in DEFAULTS.items():
        theirs = getattr(transformers, classes[kind])().to_dict()
        assert {key: theirs[key] for key in ours} == ours, kind


DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
import convert_hf_to_gguf as official
plain = official.get_model_class
# It knows tokenizers by a hash, and these are our own; the tensors are the point.
def without_vocabulary(*args, **kwargs):
    found = plain(*args, **kwargs)
    found.set_vocab = lambda self: None
    return found
official.get_model_class = without_vocabulary
for job in sys.argv[2:]:
    folder, out, kind = job.split("::")
    sys.argv = ["convert", folder, "--outfile", out, "--outtype", kind]
    official.main()
"""


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official converter of the very llama.cpp that is installed, with its own gguf library beside it."""
    try:
        return official_converter.fetch(Home(tmp_path_factory.mktemp("official")))
    except WorkerError as error:
        pytest.skip(str(error))


def test_tensors_equal_the_official_converters(models: Path, converter: Path, tmp_path: Path) -> None:
    jobs = [(name, kind) for name in ARCHS for kind in ("f16", "q8_0")]
    orders = [f"{models / name}::{tmp_path / f'{name}-{kind}-official.gguf'}::{kind}" for name, kind in jobs]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(converter), *orders], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, kind in jobs:
        ours = tensors(write_gguf(models / name, None, tmp_path / f"{name}-{kind}.gguf", kind, FileMetadata(name)))
        theirs = tensors(tmp_path / f"{name}-{kind}-official.gguf")
        assert ours.keys() == theirs.keys(), name
        for key, (own_kind, data) in ours.items():
            assert own_kind == theirs[key][0], f"{name} {key}"
            assert np.array_equal(data, theirs[key][1]), f"{name} {kind} {key}"
