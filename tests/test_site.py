"""The documentation site has every page, and its pictures are those that the commands of the pages make."""

from __future__ import annotations

import base64
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import build_site  # noqa: E402
import pictures  # noqa: E402
import run_examples  # noqa: E402


def pages_of(nav: Any) -> Iterator[str]:
    for item in nav:
        if isinstance(item, str):
            yield item
        for value in item.values() if isinstance(item, dict) else ():
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_the_navigation_has_every_page_once() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    named = list(pages_of(project["nav"]))

    examples = {f"examples/{path.stem}.md" for path in run_examples.notebooks()}
    there = examples | {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} | set(build_site.ALSO)
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


def test_every_picture_of_a_tutorial_is_made_by_its_page() -> None:
    for page in (DOCS / "tutorials").glob("*.md"):
        shown = re.findall(r"!\[[^\]]*\]\(\.\./images/([^)]+)\)", page.read_text())
        assert shown == list(pictures.PICTURES.get(page.stem, {}).values()), page.name


def test_notebooks_are_kept_without_outputs() -> None:
    notebooks = [json.loads(path.read_text()) for path in run_examples.notebooks()]
    code = [cell for notebook in notebooks for cell in notebook["cells"] if cell["cell_type"] == "code"]

    assert len(notebooks) == 2
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_cells_of_a_notebook_become_a_page_with_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text, pictures and cards; `nox -s docs` runs the real ones."""
    shown = {"data": {"image/png": base64.b64encode(b"picture").decode()}, "output_type": "display_data"}
    card = {"data": {"text/html": "<p class='ptycho-card'>\n\nfine</p>"}, "output_type": "execute_result"}
    printed = {"output_type": "stream", "name": "stdout", "text": "\x1b[1m7\x1b[0m\n"}
    outputs = [NotebookNode(item) for item in (shown, card, printed)]
    cells = [{"cell_type": "markdown", "source": "# Title\n\nWords."}, {"cell_type": "code", "source": "3 + 4"}]
    cells[1] = NotebookNode(cells[1], outputs=outputs)
    notebook = NotebookNode(cells=[NotebookNode(cell) for cell in cells])
    monkeypatch.setattr(run_examples, "executed", lambda path: notebook)
    monkeypatch.setattr(run_examples, "notebooks", lambda: [Path("sums.ipynb")])

    run_examples.write_examples(tmp_path)

    page = (tmp_path / "examples" / "sums.md").read_text()
    assert page.startswith("# Title\n\n*This page is a notebook: [sums.ipynb](sums.ipynb).")
    assert "```python\n3 + 4\n```" in page
    assert "```text\n7\n```" in page
    assert "<p class='ptycho-card'>\nfine</p>" in page
    assert (tmp_path / "examples" / "sums_1.png").read_bytes() == b"picture"
