"""``docs/scheduling.md`` names a test for every rule; each of them is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def names_in(path: Path) -> set[str]:
    """Functions and classes of a file, methods as ``Class::method``."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    return names


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/.]+\.py)::([\w:]+)`", page)

    missing = [f"{file}::{name}" for file, name in named if name not in names_in(ROOT / file)]

    assert missing == []
    assert len(named) > 30
