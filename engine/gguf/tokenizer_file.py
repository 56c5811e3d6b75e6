"""A model folder's tokenizer.json, parsed once for each content: a run's copy of its base's file is the base's again.
Chat templates, GGUF vocabularies and Modelfiles read it through here; a large one takes seconds to parse."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from engine.gguf.normaliser import Normaliser
from store.errors import BadInput

_KEPT = 4
_TODO = "Save it with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
_files: OrderedDict[str, TokenizerFile] = OrderedDict()
_lock = threading.Lock()


class TokenizerFile:
    """One content. `raw` is its JSON, `tokenizer` what Hugging Face's library makes of it: shared, do not change them.

    All raise BadInput for a file that cannot be read.
    """

    def __init__(self, path: Path, body: bytes) -> None:
        self._path, self._body = path, body

    @cached_property
    def raw(self) -> dict[str, Any]:
        try:
            found = json.loads(self._body)
        except ValueError as error:
            raise self._broken(error) from error
        if not isinstance(found, dict):
            raise self._broken("it is not a JSON object")
        return found

    @cached_property
    def tokenizer(self) -> Tokenizer:
        try:
            return Tokenizer.from_buffer(self._body)
        except Exception as error:  # tokenizers raises bare Exception for everything
            raise self._broken(error) from error

    @cached_property
    def normaliser(self) -> Normaliser:
        """What it does to a text before it splits it, and llama.cpp does not."""
        return Normaliser(self.raw)

    def _broken(self, why: object) -> BadInput:
        return BadInput(f"The model's tokenizer.json cannot be read: {why}", where=str(self._path), todo=_TODO)


def load(folder: Path) -> TokenizerFile:
    """The tokenizer.json of a folder. BadInput when there is none."""
    path = folder / "tokenizer.json"
    try:
        body = path.read_bytes()
    except OSError as error:
        raise BadInput("The model has no tokenizer.json.", where=str(folder), todo=_TODO) from error
    content = hashlib.sha256(body).hexdigest()
    with _lock:
        found = _files.pop(content, None) or TokenizerFile(path, body)
        _files[content] = found
        if len(_files) > _KEPT:
            _files.popitem(last=False)
    return found
