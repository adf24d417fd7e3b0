"""The pages say what is there: links lead somewhere, commands and flags exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ptycho_cli.cli.commands import COMMANDS, load_command
from ptycho_cli.config.keys import keys
from ptycho_cli.config.values import show
from ptycho_cli.finding_ids import FINDING_IDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_method_names_a_function_for_each_equation_and_it_is_there() -> None:
    """Every link to a module names what to look for in it."""
    page = ROOT / "docs" / "method.md"
    links = re.findall(r"\[((?:`\w+`(?:, )?)+)\]\((\.\./ptycho_cli/[\w/]+\.py)\)", page.read_text())

    missing = [
        (name, target)
        for names, target in links
        for name in re.findall(r"`(\w+)`", names)
        if not re.search(rf"(?m)^(?:def|class) {name}\b", (page.parent / target).read_text())
    ]

    assert len(links) >= 12
    assert missing == []


def flags_of(name: str) -> set[str]:
    def walk(command: object) -> set[str]:
        own = {flag for item in command.params for flag in (*item.opts, *item.secondary_opts)}  # type: ignore[attr-defined]
        below = getattr(command, "commands", {}).values()
        return own.union(*(walk(item) for item in below))

    return {*walk(load_command(name)), "--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_flags_exist(page: Path) -> None:
    """Every `ptycho NAME --flag` on a page is a command, and a flag of it."""
    for name, rest in re.findall(r"(?m)ptycho ([a-z][a-z-]+)\b((?:[^\n`#|]|\\\n)*)", page.read_text()):
        if name not in COMMANDS:
            continue  # prose, such as "ptycho and its plugins"
        wrong = set(re.findall(r"(?<!\S)--[a-z][a-z-]+", rest)) - flags_of(name)
        assert wrong == set(), f"{page.name}: ptycho {name} has no {wrong}"


def test_flags_and_defaults_in_the_tables_on_execution_are_those_of_the_schema() -> None:
    """Rows of `flag`, `key` and default; a default may be followed by its meaning in parentheses."""
    rows = re.findall(r"(?m)^\| (.*?) ?\| `([a-z_.]+)` \| ([^|]+?) \|", (ROOT / "docs" / "execution.md").read_text())
    words = {"None": "none", "True": "on"}

    written = {key: (set(re.findall(r"--[a-z-]+", flag)), default.split(" (")[0]) for flag, key, default in rows}
    settings = {key: keys()[key] for key in written if key in keys()}
    expected = {
        key: ({*setting.flags, *setting.negative_flags}, words.get(str(setting.default), show(setting.default)))
        for key, setting in settings.items()
    }
    assert {key: written[key] for key in expected} == expected
    assert set(written) - set(expected) == {"scheduler.options.k"}


def test_every_id_of_a_finding_has_its_section() -> None:
    """With its threshold, an example, and the measured counts."""
    page = (ROOT / "docs" / "data.md").read_text()
    sections = dict(re.findall(r"(?ms)^### ([a-z]+-[a-z-]+)$(.*?)(?=^#|\Z|^<!--)", page))

    assert list(sections) == list(FINDING_IDS)
    for id, text in sections.items():
        assert f"          {id}" in text, id
        assert all(f"*{part}*: " in text for part in ("Threshold", "Example", "Measured")), id
        assert f"(#{id})" in page, id


def test_every_command_is_on_a_page() -> None:
    text = "\n".join(page.read_text() for page in PAGES)

    assert [name for name in COMMANDS if f"ptycho {name}" not in text] == []


def test_the_two_commands_of_the_readme_are_what_ci_and_people_run() -> None:
    demo, tests = re.findall(r"```sh\n(python3 -m venv [^\n]+)\n```", (ROOT / "README.md").read_text())

    assert demo.endswith("ptycho demo")
    assert tests in (ROOT / ".ci" / "run").read_text()


def test_the_reference_of_the_python_interface_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import python_reference; print(python_reference.page(), end='')"],
        cwd=ROOT / "docs", capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    assert done.stdout == (ROOT / "docs" / "reference" / "python.md").read_text(), "run python docs/python_reference.py"


def test_the_reference_has_every_name_that_pages_import() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    imports = "\n".join(re.findall(r"(?m)^from ptycho_cli[\w.]* import (.+)$", "\n".join(p.read_text() for p in PAGES)))
    names = {name.strip() for line in imports.splitlines() for name in line.split(",") if name.strip() != "..."}

    assert {name for name in names if f"### `{name}`" not in page} == set()


def test_the_benchmarks_can_be_started() -> None:
    """Every part is imported before the first one runs, so that a renamed function shows here."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "benchmarks.py"), "no-such-part"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert "no part is called no-such-part" in done.stderr
