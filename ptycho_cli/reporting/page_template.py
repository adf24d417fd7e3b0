"""Pages of a report: one HTML file with its style, script and figures, in which everything from files is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli import __version__
from ptycho_cli.errors import OutputError
from ptycho_cli.whole_file import new_output

if TYPE_CHECKING:
    from jinja2 import Environment

GENERATOR = f"ptycho-cli {__version__}"
_TEMPLATES = Path(__file__).with_name("templates")
_MARK = '<meta name="generator" content="ptycho-cli '
_HEAD_BYTES = 600  # the mark of an own page is within its first bytes


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    # figures are drawn by this program, and their texts escaped by matplotlib
    made.filters["trusted_svg"] = Markup
    made.globals["style"] = Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8"))
    made.globals["script"] = Markup((_TEMPLATES / "page.js").read_text(encoding="utf-8"))
    made.globals["generator"] = GENERATOR
    return made


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template of this package; every value is escaped."""
    return _environment().get_template(template).render(values)


def is_own_page(path: Path) -> bool:
    """Whether a file is a page that this program wrote, which a new one may replace."""
    try:
        with path.open("rb") as file:
            return _MARK.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def refuse_other_file(path: Path, *, force: bool) -> None:
    """Refuse to replace a file that is not an earlier page of this program.

    Raises:
        OutputError: If it exists and ``force`` is False.
    """
    if path.is_dir():
        raise OutputError(f"{path}: a folder, expected the name of a file.", hint=f"Try -o {path / 'report.html'}")
    if path.exists() and not force and not is_own_page(path):
        raise OutputError(f"{path}: the file exists, and is no earlier report.", hint="Choose another, or --force.")


def write_page(path: Path, text: str, *, force: bool = False) -> None:
    """Write a page; an earlier page of this program is replaced.

    Raises:
        OutputError: If another file is in its place and ``force`` is False, or it cannot be written.
    """
    refuse_other_file(path, force=force)
    with new_output(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "replace"))
