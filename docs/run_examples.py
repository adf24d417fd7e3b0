"""Run the notebooks of docs/examples, and turn each into a page with what its cells show.

The notebooks are kept without outputs. ``python docs/build_site.py`` calls ``write_examples``, so every picture and
number on these pages was computed when the site was built; a cell that fails ends the build.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
TIME_LIMIT_S = 300  # for one cell
_QUICK = {"OMP_NUM_THREADS": "1", "PTYCHO_USER_FILE": "", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def write_examples(folder: Path) -> None:
    """Run every notebook in an empty folder, and write its page and its pictures to ``examples`` of the site."""
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    for path in notebooks():
        page = _page(path, folder / "examples")
        (folder / "examples" / f"{path.stem}.md").write_text(page, encoding="utf-8")


def notebooks() -> list[Path]:
    """The notebooks, in the order of their names."""
    return sorted((DOCS / "examples").glob("*.ipynb"))


def executed(path: Path) -> Any:
    """Run a notebook; return it with the outputs of its cells.

    Raises:
        CellExecutionError: If a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for `!ptycho` in a cell
    os.environ.update(_QUICK, PATH=programs)
    with tempfile.TemporaryDirectory() as place:
        NotebookClient(notebook, timeout=TIME_LIMIT_S, resources={"metadata": {"path": place}}).execute()
    return notebook


def _page(path: Path, folder: Path) -> str:
    parts = []
    for number, cell in enumerate(executed(path).cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        parts += [_shown(output, folder, f"{path.stem}_{number}") for output in cell.outputs]
    title, *rest = [part for part in parts if part]
    note = f"*This page is a notebook: [{path.name}]({path.name}). Its outputs were computed when the site was built.*"
    return "\n\n".join([*title.split("\n\n", 1)[:1], note, *title.split("\n\n", 1)[1:], *rest]) + "\n"


def _shown(output: Any, folder: Path, name: str) -> str:
    """One output of a cell as Markdown; a picture is written beside the page."""
    if output.output_type == "stream":
        return "" if output.name == "stderr" else _text(output.text)
    data = output.get("data", {})
    if "image/png" in data:
        (folder / f"{name}.png").write_bytes(base64.b64decode(data["image/png"]))
        return f"![What the cell draws]({name}.png)"
    if "text/html" in data and "ptycho-card" in data["text/html"]:
        return f'<div class="output">\n{_one_block(data["text/html"])}\n</div>'
    return _text(data.get("text/plain", ""))


def _text(text: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip()
    return f"```text\n{plain}\n```" if plain else ""


def _one_block(html: str) -> str:
    """HTML without empty lines, at which Markdown would begin again."""
    return re.sub(r"\n\s*\n", "\n", html)
