"""Tests of what only a GPU can show: skipped, with the reason, where torch finds none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import make_tiny_llama


@pytest.fixture(autouse=True)
def cuda() -> Iterator[None]:
    """A GPU with its memory as it was before."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch finds none (scripts/gpu_check.sh runs these tests on a machine with one)")
    yield
    torch.cuda.empty_cache()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"))
