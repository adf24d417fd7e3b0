"""The documentation site has every page, and its pictures are those that the commands of the pages make."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import build_site  # noqa: E402
import house_drawing  # noqa: E402
import pictures  # noqa: E402


def pages_of(nav: Any) -> Iterator[str]:
    for item in nav:
        if isinstance(item, str):
            yield item
        for value in item.values() if isinstance(item, dict) else ():
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_the_navigation_has_every_page_once() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    named = list(pages_of(project["nav"]))

    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | set(build_site.ALSO)
    assert sorted(named) == sorted(there)


def test_no_page_of_the_site_leads_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even to the source: what the pages link to has a page with its code. Formulas need no script."""
    monkeypatch.setattr(build_site, "PAGES", tmp_path)

    build_site.stage()

    for page in tmp_path.rglob("*.md"):
        if "source" in page.relative_to(tmp_path).parts:
            continue
        text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
        for target in re.findall(r"\]\(([^)#:\s]+)[)#]", text):
            goal = (page.parent / target).resolve()
            assert goal.is_relative_to(tmp_path), f"{page}: {target}"
            assert goal.exists(), f"{page}: {target}"
    assert "def expected_rate" in (tmp_path / "source/ptycho_cli/physics/forward.md").read_text()
    assert (tmp_path / "method.md").read_text().count("<math") == (DOCS / "method.md").read_text().count("```math")


def test_the_drawing_of_the_house_is_current() -> None:
    assert (DOCS / "images" / "house.svg").read_text() == house_drawing.drawing(), "run python docs/pictures.py house"


def test_every_picture_of_a_tutorial_is_made_by_its_page() -> None:
    for page in (DOCS / "tutorials").glob("*.md"):
        shown = re.findall(r"!\[[^\]]*\]\(\.\./images/([^)]+)\)", page.read_text())
        assert shown == list(pictures.PICTURES.get(page.stem, {}).values()), page.name
