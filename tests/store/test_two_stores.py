"""Two open stores of one home in one process, while another process comes and goes: nobody may lose a write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from store import datasets
from store.db import Store
from store.home import Home

_OTHER = """
import sys
from pathlib import Path
from store import datasets
from store.db import Store
from store.home import Home
with Store.open(Home(Path(sys.argv[1]))) as store:
    for n in range(20):
        datasets.create(store, f"{sys.argv[2]}-{n}")
"""


def test_opening_a_second_store_keeps_the_locks_of_the_first(store: Store, home: Home) -> None:
    """Closing any file handle of the database drops this process's locks; another process then removes the log."""
    root = Path(__file__).parents[2]
    assert datasets.all_datasets(store) == []
    for n in range(2):
        with Store.open(home) as second:
            assert len(datasets.all_datasets(second)) == 21 * n
            subprocess.run([sys.executable, "-c", _OTHER, str(home.root), f"other{n}"], check=True, cwd=root)
        datasets.create(store, f"mine-{n}")
        assert len(datasets.all_datasets(store)) == 21 * (n + 1)
    assert store.integrity() == []
