"""One meaning for each class name in tui, engine and store."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache

from tests.house import sources, tree


@cache
def public_classes() -> dict[str, list[str]]:
    """The modules that define each public class.

    A class inside a class is named by its owner, as in `Choice.Changed`, and a private one belongs to its module alone.
    """
    found = defaultdict(list)
    for module, path in sources().items():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    return dict(found)


def test_no_two_classes_share_a_name() -> None:
    shared = {name: modules for name, modules in sorted(public_classes().items()) if len(modules) > 1}
    assert not shared, "\n".join(f"{name}: {', '.join(modules)}" for name, modules in shared.items())


def test_classes_are_found() -> None:
    found = public_classes()
    assert found["TuningforkApp"] == ["tui.app"] and "store.db" in found["Store"]
    assert len(found) > 200, "the walk reads all three packages"


def test_only_tui_keys_declares_bindings() -> None:
    declared = {
        module
        for module, path in sources().items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
        if (node.func.id if isinstance(node.func, ast.Name) else node.func.attr) == "Binding"
    }
    assert declared == {"tui.keys"}
