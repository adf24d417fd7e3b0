"""A fixture that installs plugins: a module and a metadata folder, as an installer writes them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCHEDULER = """
from ptycho_cli.extend import Options, Schedule, SchedulerEntry, closed_form, hookimpl

ptycho_plugin_api = 1


class MineOptions(Options):
    height: float = 1.0


def build(optimizer, span, options):
    return Schedule(closed_form(optimizer, lambda step: options.height))


@hookimpl
def ptycho_schedulers():
    return [SchedulerEntry("NAME", "A constant.", MineOptions, build)]
"""

MakePlugin = Callable[..., Path]


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePlugin]:
    """Install a module as a distribution: ``make_plugin("ptycho-mine", code)``."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    modules: set[str] = set()

    def make(
        distribution: str, code: str = SCHEDULER, *, version: str = "1.0", offers: str = "Mine", entry_points: str = ""
    ) -> Path:
        module = distribution.replace("-", "_")
        modules.add(module)
        path = site / f"{module}.py"
        path.write_text(code.replace("NAME", offers))
        metadata = site / f"{module}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: Made by a test.\n"
        )
        lines = entry_points or f"{offers.lower()} = {module}"
        (metadata / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[ptycho_cli]\n{lines}\n")
        return path

    yield make
    for name in modules:
        sys.modules.pop(name, None)
