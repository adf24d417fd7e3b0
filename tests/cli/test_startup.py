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
FILES = {
    "a.yaml": "training:\n  epochs: 3\n  batch_size: 2\nscheduler:\n  name: Exponential\n",
    "b.yaml": "training:\n  seed: 3\nloss:\n  withheld: 0.1\n",
    "c.yaml": "scheduler:\n  options:\n    gamma: 0.9\noptimizer:\n  learning_rate: 1e-3\n",
}
TWENTY = (
    "--set training.gradient_clip_val=1 --set data.group_size=32 --set loss.withheld=0.2"
    " --set execution.precision=64-true"
    " --set execution.num_workers=2 --set physics.probe_warmup=3 --epochs 9 --batch-size 4 --seed 7"
    " --learning-rate 1e-3 --scheduler Exponential --scheduler-option gamma=0.8 --accumulate-grad-batches 2"
    " --loss amplitude --devices 1 --accelerator cpu --no-deterministic --logger none --checkpoint-save-top-k 3"
    " --n-groups 100"
)
COMPLETION = {"_PTYCHO_COMPLETE": "complete_bash", "COMP_WORDS": "ptycho train --scheduler ", "COMP_CWORD": "3"}
# What is promised: CPU time against a typer program that prints a word.
PROMISED = {
    "--help": 1.7,
    f"inspect-config -c a.yaml -c b.yaml -c c.yaml {TWENTY}": 1.7,
    "completion": 1.7,
    "train --help": 1.8,
}
NOISE = 1.15  # a shared machine adds it


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

    loaded = {name.removeprefix("ptycho_cli").lstrip(".") for name in done.stderr.split()}
    assert loaded == {"", "cli", "cli.app", "cli.commands", "cli.typer_command", "errors", "installed_plugins"}


def cpu_seconds(command: list[str], environment: dict[str, str], folder: Path) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=folder, capture_output=True, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.alone
@pytest.mark.parametrize("words", list(PROMISED), ids=lambda words: " ".join(words.split()[:2]))
def test_start_up_costs_little_more_than_typer(words: str, environment: dict[str, str], tmp_path: Path) -> None:
    for name, text in {**FILES, "hello.py": HELLO}.items():
        (tmp_path / name).write_text(text)
    complete = words == "completion"
    ours_is = [sys.executable, "-m", "ptycho_cli", *([] if complete else words.split())]
    runs = [([sys.executable, "hello.py"], environment), (ours_is, {**environment, **(COMPLETION if complete else {})})]
    for command, around in runs:
        cpu_seconds(command, around, tmp_path)  # compiles

    for _ in range(3):  # what runs beside it may slow one of the two down for seconds
        pairs = [[cpu_seconds(command, around, tmp_path) for command, around in runs] for _ in range(7)]
        base, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
        if ours <= NOISE * PROMISED[words] * base:
            return
    pytest.fail(f"{ours:.3f} s, a typer hello {base:.3f} s")


def test_completion_knows_flags_schedulers_and_presets(environment: dict[str, str], tmp_path: Path) -> None:
    for line, expected in (
        ("ptycho train --sch", "--scheduler"),
        ("ptycho train --scheduler Exp", "Exponential"),
        ("ptycho inspect-config --preset lo", "low-dose"),
    ):
        words = {**COMPLETION, "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
        done = subprocess.run(
            [sys.executable, "-m", "ptycho_cli"],
            env={**environment, **words},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert expected in done.stdout.split(), done.stderr
