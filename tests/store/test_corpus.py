"""Three hundred generated files: every row is kept or reported, every field used or counted, no traceback."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from store import feedback, importing, pairs, votes
from store.db import Store
from store.home import Home
from tests.store import corpus

FILES = 300
SEED = 7


def test_every_row_is_kept_or_reported_and_every_field_used_or_counted(home: Home, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet and zstd need the package pyarrow")
    (tmp_path / "files").mkdir()
    total: Counter[str] = Counter()
    with Store.open(home) as store:
        for file in corpus.generate(tmp_path / "files", FILES, SEED):
            report = importing.import_files(store, [file.path], dataset=file.path.name)
            said = (file.path.name, report)
            assert report.read == file.rows, said
            assert report.kept + report.duplicates + report.rejected == report.read, said
            assert report.rejected == file.bad, said
            assert (report.pairs, report.preferences, report.feedback) == (
                file.pairs, file.preferences, file.feedback
            ), said  # fmt: skip
            assert Counter({k.lower(): n for k, n in report.not_read.items()}) == Counter(
                {k.lower(): n for k, n in file.extra.items()}
            ), said
            total.update(
                pairs=report.pairs, preferences=report.preferences, feedback=report.feedback, bad=report.rejected
            )
        assert pairs.count(store) == total["pairs"]
        assert len(votes.preferences(store)) == total["preferences"]
        assert feedback.count_feedback(store) == total["feedback"]
    assert min(total.values()) > 100, f"the corpus has too little of something: {total}"
