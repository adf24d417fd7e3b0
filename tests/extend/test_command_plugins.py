"""Plugins bring commands, which are built when a user types them; whatever goes wrong names the distribution."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.cli.commands import plugin_commands

MakePlugin = Callable[..., Path]
COMMAND = """
import sys

from ptycho_cli.extend import CommandEntry, hookimpl

ptycho_plugin_api = 1


def build():
    import typer

    print("built", file=sys.stderr)
    BUILT


@hookimpl
def ptycho_commands():
    return [CommandEntry("NAME", "Count to a number.", build)]
"""
FUNCTION = """
    def count(number: int = typer.Option(3, "--to", help="Last number.")) -> None:
        \\"\\"\\"Count from 1.\\"\\"\\"
        BODY

    return count
"""
PRINT = "print(*range(1, number + 1))"
GROUP = """
    app = typer.Typer(no_args_is_help=True)

    @app.command()
    def up(number: int) -> None:
        print(*range(1, number + 1))

    @app.command()
    def down(number: int) -> None:
        print(*range(number, 0, -1))

    return app
"""


DECLARED = "{0} = {1}\n\n[ptycho_cli.commands]\n{0} = {1}"


def command(body: str = PRINT, built: str = FUNCTION) -> str:
    return COMMAND.replace("    BUILT\n", built.replace('\\"', '"').replace("BODY", body))


def test_a_command_of_a_plugin_is_listed_and_runs(make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]) -> None:
    code = f"import sys\nprint('imported', file=sys.stderr)\n{command()}"
    make_plugin("ptycho-count", code, offers="count", entry_points=DECLARED.format("count", "ptycho_count"))

    assert main(["--help"]) == 0
    helped = capsys.readouterr()
    assert "count" in helped.out.split("Commands of plugins")[1]
    assert "Made by a test." in helped.out
    assert helped.err == ""  # it is imported when it is typed
    assert main(["count", "--to", "4"]) == 0
    assert capsys.readouterr().out == "1 2 3 4\n"
    assert main(["count", "--help"]) == 0
    assert "Last number. (default 3)" in capsys.readouterr().out
    assert main(["count", "--two"]) == 2
    assert "No such option: --two" in capsys.readouterr().err


def test_a_plugin_may_bring_a_group_of_commands(make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]) -> None:
    make_plugin("ptycho-count", command(built=GROUP), offers="count")

    assert main(["count", "down", "3"]) == 0
    assert capsys.readouterr().out == "3 2 1\n"


def test_a_command_that_two_plugins_offer_needs_its_distribution(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        entry_points = DECLARED.format("count", f"ptycho_{name}")
        make_plugin(f"ptycho-{name}", command(f"print('{name}')"), offers="count", entry_points=entry_points)

    assert list(plugin_commands()) == ["ptycho-one:count", "ptycho-two:count"]
    assert main(["count"]) == 2
    error = capsys.readouterr().err
    assert "ptycho-one 1.0 and ptycho-two 1.0 both offer the command count." in error
    assert main(["ptycho-two:count"]) == 0
    assert capsys.readouterr().out == "two\n"
    assert main(["plugins", "check"]) == 2
    assert "Users must type ptycho-one:count." in capsys.readouterr().out


def test_the_name_of_a_built_in_command_means_that_one(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    entry_points = DECLARED.format("doctor", "ptycho_count")
    make_plugin("ptycho-count", command(), offers="doctor", entry_points=entry_points)

    assert plugin_commands() == {}
    assert main(["doctor", "--help"]) == 0
    assert "Count" not in capsys.readouterr().out
    assert main(["ptycho-count:doctor"]) == 0
    assert capsys.readouterr().out == "1 2 3\n"
    assert main(["plugins", "check"]) == 2
    assert "ptycho has a command doctor of its own." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('no licence')", "was left out: importing it failed: RuntimeError: no licence"),
        (command(built="    return 3\n"), "its 'build' returned a int, expected a function or a typer.Typer"),
        (command(built="    import no_such_package\n"), "failed in build: ModuleNotFoundError"),
        (command(built="    sys.exit(4)\n"), "command 'count' (ptycho-count 1.0) failed in build"),
        (command("raise ValueError('no scan')"), "plugin ptycho-count 1.0 failed at ptycho_count.py:"),
        (command("sys.exit(4)"), "plugin ptycho-count 1.0 failed at ptycho_count.py:"),
    ],
)
def test_a_command_that_fails_ends_in_one_line_that_names_its_distribution(
    code: str, words: str, make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plugin("ptycho-count", code, offers="count")

    assert main(["count"]) == 2
    error = capsys.readouterr().err
    assert words in " ".join(error.split())
    assert "ptycho-count" in error
    assert "Traceback" not in error


def test_a_command_has_a_name_in_lower_case(make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]) -> None:
    make_plugin("ptycho-count", command(), offers="Count")

    assert main(["plugins", "check"]) == 2
    assert "it offers the command 'Count'. Use lower-case letters" in " ".join(capsys.readouterr().out.split())


def test_a_mistyped_command_gets_the_nearest_one(make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]) -> None:
    make_plugin("ptycho-count", command(), offers="count", entry_points=DECLARED.format("count", "ptycho_count"))

    assert main(["cuont"]) == 2
    assert "Did you mean 'count'?" in capsys.readouterr().err


def test_a_command_that_is_not_declared_runs_and_the_check_names_it(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plugin("ptycho-count", command(), offers="count")

    assert main(["count"]) == 0
    assert main(["plugins", "check"]) == 2
    assert "does not list its command count. Declare it in the group ptycho_cli.commands" in " ".join(
        capsys.readouterr().out.split()
    )


def test_blocked_plugins_have_no_commands(make_plugin: MakePlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    make_plugin("ptycho-count", command(), offers="count", entry_points=DECLARED.format("count", "ptycho_count"))
    monkeypatch.setenv("PTYCHO_NO_PLUGINS", "1")

    assert plugin_commands() == {}


def test_help_loads_no_plugin_host() -> None:
    """The list of commands costs the look at the metadata alone."""
    script = "import sys\nfrom ptycho_cli.cli.app import main\nmain(['--help'])\nprint('pluggy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.splitlines()[-1] == "False"
