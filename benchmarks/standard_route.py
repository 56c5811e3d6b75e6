"""The routes that people take without Tuningfork: merge with PEFT, quantise with llama.cpp.
Every step is a process of its own; started by export.py only."""

from __future__ import annotations

import sys
from pathlib import Path


def merge(base: str, adapter: str, out: str) -> None:
    """transformers and PEFT: load, merge_and_unload, save_pretrained."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), adapter)
    model.merge_and_unload().save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)


def quantise(source: str, out: str, cores: str) -> None:
    """llama.cpp's own, on all cores."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M, int(cores)
    if llama_cpp.llama_model_quantize(source.encode(), out.encode(), params) != 0:
        raise RuntimeError(f"llama.cpp could not quantise {source}.")


class Route:
    """The commands from an adapter to a file, all of whose steps write into one folder."""

    def __init__(self, base: Path, adapter: Path, converter: Path, folder: Path, cores: int) -> None:
        self._base, self._adapter, self._converter = str(base), str(adapter), converter
        self._folder, self._cores = folder, str(cores)

    def commands(self, target: str) -> list[list[str]]:
        """What makes `gguf-adapter`, `f16`, `q8_0` or `q4_k_m`."""
        if target == "gguf-adapter":
            # float32, as ours: the default, float16, would round the adapter
            return [self._script("convert_lora", self._adapter, self.file(target), "f32", "--base", self._base)]
        whole, merged = "f16" if target == "q4_k_m" else target, str(self._folder / "merged")
        steps = [
            [sys.executable, __file__, "merge", self._base, self._adapter, merged],
            self._script("convert_hf", merged, self.file(whole), whole),
        ]
        if whole != target:
            files = str(self.file(whole)), str(self.file(target))
            steps.append([sys.executable, __file__, "quantise", *files, self._cores])
        return steps

    @property
    def needs(self) -> Path:
        """A folder with the libraries that the scripts need."""
        return self._converter / "needs"

    def file(self, target: str) -> Path:
        """What the last step leaves."""
        return self._folder / f"{target}.gguf"

    def _script(self, name: str, source: str, out: Path, kind: str, *more: str) -> list[str]:
        script = self._converter / f"{name}_to_gguf.py"
        return [sys.executable, str(script), source, "--outfile", str(out), "--outtype", kind, *more]


if __name__ == "__main__":
    {"merge": merge, "quantise": quantise}[sys.argv[1]](*sys.argv[2:])
