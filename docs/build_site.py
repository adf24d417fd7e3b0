"""Build the documentation site: ``python docs/build_site.py``; ``nox -s docs`` runs it with the packages it needs.

The pages of this folder are plain Markdown that reads well in a repository. A few things differ on the site, and are
made in copies below ``build/pages``: links to source files lead to pages with their code, blocks of mathematics
become MathML, and the Python interface is rendered by mkdocstrings. The example notebooks are run, and become pages.
Every warning is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from python_reference import HEAD, PUBLIC, names_of
from run_examples import write_examples

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ROOT / "build" / "pages"
SITE = ROOT / "build" / "site"
ALSO = ("CHANGELOG.md", "CONTRIBUTING.md")  # pages of the root
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)#\s:]+)(#[^)\s]*)?\)")
MATHS = re.compile(r"(?ms)^```math\n(.*?)^```$")
WIDE = ("configuration.md", "override_matrix.md")  # tables of eight columns
_WIDE = "---\nhide:\n  - navigation\n---\n\n<style>.md-grid { max-width: none; }</style>\n\n"
_NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def stage() -> None:
    """Write the pages, pictures and examples of the site to ``build/pages``."""
    shutil.rmtree(PAGES, ignore_errors=True)
    sources: set[Path] = set()
    pages = {path: path.relative_to(DOCS) for path in sorted(DOCS.rglob("*.md"))}
    pages |= {ROOT / name: Path(name) for name in ALSO}
    for path, place in pages.items():
        text = python_page() if place == Path("reference/python.md") else path.read_text(encoding="utf-8")
        text = MATHS.sub(lambda match: mathml(match[1]), links_within(text, path, place, pages, sources))
        _write(place, wide(text) if place.name in WIDE else text)
    for path in sources:
        name = path.relative_to(ROOT).as_posix()
        code = path.read_text(encoding="utf-8")
        fence = "`" * 4
        _write(source_page(path), f"{_NOT_SEARCHED}# {path.name}\n\n`{name}`\n\n{fence}python\n{code}{fence}\n")
    for folder in ("images", "examples"):
        if (DOCS / folder).is_dir():
            shutil.copytree(DOCS / folder, PAGES / folder)
    shutil.copy(DOCS / "site.css", PAGES)


def _write(place: Path, text: str) -> None:
    (PAGES / place).parent.mkdir(parents=True, exist_ok=True)
    (PAGES / place).write_text(text, encoding="utf-8")


def source_page(path: Path) -> Path:
    """Place of the page that shows a source file."""
    return Path("source") / path.relative_to(ROOT).with_suffix(".md")


def links_within(text: str, path: Path, place: Path, pages: dict[Path, Path], sources: set[Path]) -> str:
    """Point links of a page to other pages of the site; a link to what is not on it becomes its text.

    Args:
        text: The page.
        path: File that it is from, from which its links count.
        place: Its place on the site.
        pages: Place of every page, by its file.
        sources: Gets the source files that the page links to.
    """

    def replaced(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        found = (path.parent / target).resolve()
        if found.is_dir() and (found / "README.md").exists():
            found /= "README.md"
        if found in pages:
            goal = pages[found]
        elif found.suffix == ".py" and found.is_relative_to(ROOT):
            sources.add(found)
            goal = source_page(found)
        elif found.is_relative_to(DOCS) and found.exists():
            goal = found.relative_to(DOCS)
        elif found.exists():
            return label[1:-1]
        else:
            raise SystemExit(f"{path}: {target} does not exist")
        return f"{label}({Path(os.path.relpath(goal, place.parent)).as_posix()}{anchor})"

    parts = re.split(r"(?ms)(^```.*?^```$)", text)  # blocks of code stay as they are
    return "".join(part if part.startswith("```") else LINK.sub(replaced, part) for part in parts)


def wide(text: str) -> str:
    """A page with wide tables: no list of pages beside it, and names of variables fold after their group."""
    return _WIDE + re.sub(r"`(PTYCHO_[A-Z]+__)(\w+)`", r"<code>\1<wbr>\2</code>", text)


def mathml(latex: str) -> str:
    """Turn a formula in LaTeX into MathML, which browsers show without a script."""
    from latex2mathml.converter import convert

    return f'<div class="formula">{convert(" ".join(latex.split()), display="block")}</div>'


def python_page() -> str:
    """The Python interface, for mkdocstrings: the names of ``python_reference``, rendered from the source."""
    parts = [HEAD.replace("change the docstrings", "change docstrings")]
    for title, (module, names) in PUBLIC.items():
        parts.append(f"## {title}\n\n`from {module} import ...`\n")
        parts += [f"::: {module}.{name}\n" for name in names_of(module, names)]
    return "\n".join(parts)


def build() -> int:
    """Build the site from the staged pages, strictly; return the exit code."""
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    trace = done.stderr.find("Traceback")  # what --strict ends with
    sys.stderr.write(done.stderr if trace < 0 else done.stderr[:trace])
    return done.returncode


if __name__ == "__main__":
    stage()
    write_examples(PAGES)
    sys.exit(build())
