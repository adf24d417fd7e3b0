"""Commands that only look start soon: no torch in the process, and little CPU time beside typer itself."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "lightning", "numpy", "h5py", "scipy", "matplotlib", "skimage"}
HELLO = """
import typer

app = typer.Typer()


@app.command()
def main(name: str = "world") -> None:
    print("hello", name)


app()
"""
# The promise is 1.6 times; a shared machine adds noise, so the test allows more.
MOST = {"--help": 1.8, "inspect-config": 2.0}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Compiled modules are cached, as in any installation, and no settings lie about."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PTYCHO_")}
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    found.update(PYTHONPYCACHEPREFIX=str(tmp_path_factory.mktemp("pyc")), OMP_NUM_THREADS="1", COLUMNS="80")
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["inspect-config"],
        ["inspect-config", "--json", "--scheduler", "Exponential", "--set", "training.epochs=3"],
        ["inspect-config", "-c", "run.yaml", "--yaml"],
    ],
)
def test_looking_at_settings_imports_nothing_heavy(
    words: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text("training:\n  epochs: 3\n")
    script = (
        "import sys\nfrom ptycho_cli.cli.app import main\ncode = main(sys.argv[1:])\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\nsys.exit(code)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert not HEAVY.intersection(done.stderr.split())


def test_the_list_of_commands_imports_no_command(environment: dict[str, str], tmp_path: Path) -> None:
    script = (
        "import sys\nfrom ptycho_cli.cli.app import main\nmain(['--help'])\n"
        "print(*(name for name in sys.modules if name.startswith('ptycho_cli')), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)

    assert set(done.stderr.split()) == {"ptycho_cli", "ptycho_cli.cli", "ptycho_cli.cli.app", "ptycho_cli.errors"}


def cpu_seconds(command: list[str], environment: dict[str, str], folder: Path) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=folder, capture_output=True, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", list(MOST))
def test_start_up_costs_little_more_than_typer(words: str, environment: dict[str, str], tmp_path: Path) -> None:
    hello = tmp_path / "hello.py"
    hello.write_text(HELLO)
    commands = [[sys.executable, str(hello)], [sys.executable, "-m", "ptycho_cli", words]]
    for command in commands:
        cpu_seconds(command, environment, tmp_path)  # compiles

    pairs = [[cpu_seconds(command, environment, tmp_path) for command in commands] for _ in range(7)]

    base, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert ours <= MOST[words] * base, f"{ours:.3f} s, a typer hello {base:.3f} s"
