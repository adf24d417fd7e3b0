"""``docs/scheduling.md`` names a test for every rule; each of them is collected and so really runs."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISES = "ptycho_cli/extend/conformance.py"  # run on every built-in by the file beside this one


class Collected:
    """A plugin of pytest's that notes what it would run."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.names |= {item.nodeid.partition("[")[0] for item in items}


def named_on_the_page() -> list[tuple[str, str]]:
    """File and name of every test; the promises to plugins under a class that keeps them."""
    page = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/.-]+\.py)::([\w:]+)`", page)
    kept = {PROMISES: "tests/schedulers/test_conformance.py"}
    return [(kept.get(file, file), name.replace("SchedulerConformance", "TestExponential")) for file, name in named]


def test_every_test_that_the_page_names_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    named, collected = named_on_the_page(), Collected()
    monkeypatch.chdir(ROOT)
    files = sorted({file for file, _ in named})

    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *files], plugins=[collected])

    assert code == 0, said.getvalue()
    classes = {name.rpartition("::")[0] for name in collected.names}
    missing = [f"{file}::{name}" for file, name in named if f"{file}::{name}" not in collected.names | classes]
    assert missing == []
    assert len(named) > 90


def test_every_row_of_the_page_names_its_test() -> None:
    """A rule without a test is a wish."""
    page = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| rule | test")]

    assert [row for row in rows if "`::" not in row and not re.search(r"\.py::\w", row)] == []
