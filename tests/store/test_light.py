"""The store is light: importing and using it loads no tensor, table or screen library."""

from __future__ import annotations

from tests.store.test_db import ROOT, finish, python

HEAVY = ("torch", "pandas", "numpy", "transformers", "textual", "pyarrow", "trl", "peft")


def test_no_module_of_the_store_imports_anything_heavy() -> None:
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "store").rglob("*.py")
    )
    assert len(modules) > 25
    code = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert finish(python(code)) == ["[]"]


def test_neither_does_using_sqlite_utils(tmp_path: object) -> None:
    code = f"""
import sys
from pathlib import Path
from store import pairs
from store.db import Store
from store.home import Home
from store.records import PairDraft
store = Store.open(Home(Path(sys.argv[1])))
pairs.create(store, PairDraft("What is it?", "It is this."))
assert pairs.search_ids(store, "wha") and store.db["pair"].count == 1
print("sqlite_utils" in sys.modules, [name for name in {HEAVY!r} if name in sys.modules])
import pandas, numpy  # hidden while sqlite_utils was imported, and only then
print(pandas.Series(numpy.arange(3)).sum())
"""
    assert finish(python(code, str(tmp_path))) == ["True []\n3"]


def test_opening_an_existing_store_does_not_even_load_sqlite_utils(tmp_path: object) -> None:
    code = """
import sys
from pathlib import Path
from store.db import Store
from store.home import Home
Store.open(Home(Path(sys.argv[1]))).close()
print("sqlite_utils" in sys.modules)
"""
    assert finish(python(code, str(tmp_path))) == ["True"]
    assert finish(python(code, str(tmp_path))) == ["False"]
