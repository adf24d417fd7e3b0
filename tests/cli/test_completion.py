"""Tab in bash: the words that fit, a plugin's among them, through the protocol that the shell speaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
from pydantic import Field

from ptycho_cli.extend import CallbackEntry, Options, SchedulerEntry, hookimpl

ptycho_plugin_api = 1


class StairsOptions(Options):
    factor: float = Field(0.5, description="Factor.")
    floor: float = Field(0.0, description="Lowest factor.")


class NoteOptions(Options):
    file: str = Field("notes.txt", description="Where.")


@hookimpl
def ptycho_schedulers():
    return [SchedulerEntry("Stairs", "Drop at milestones.", StairsOptions, print)]


@hookimpl
def ptycho_callbacks():
    return [CallbackEntry("Note", "Note rates.", NoteOptions, print)]
"""
HEAVY = {"torch", "lightning", "numpy", "h5py", "scipy", "matplotlib", "skimage"}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with ``ptycho`` on the path, beside an installed plugin and one that is broken."""
    folder = tmp_path_factory.mktemp("shell")
    for module, code in (("stairs", PLUGIN), ("broken", "raise RuntimeError('no licence')")):
        (folder / f"{module}.py").write_text(code)
        metadata = folder / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: beamline-{module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[ptycho_cli]\n{module} = {module}\n")
    program = folder / "ptycho"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nfrom ptycho_cli.cli.app import main\n"
        "try:\n    code = main()\nexcept SystemExit as left:\n    code = left.code\n"
        "if os.environ.get('SEEN'):\n    open(os.environ['SEEN'], 'w').write('\\n'.join(sys.modules))\n"
        "sys.exit(code)\n"
    )
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PTYCHO_", "_PTYCHO"))}
    return {**kept, "PYTHONPATH": str(folder), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def complete(shell: dict[str, str], line: str, **variables: str) -> list[str]:
    """Completions that bash gets when Tab is pressed at the end of a line."""
    words = line.split(" ")
    completion = {"_PTYCHO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        ["ptycho"], env={**shell, **completion, **variables}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ptycho sched", ["schedulers"]),
        ("ptycho train --scheduler S", ["Stairs"]),
        ("ptycho train --scheduler expo", ["exponential"]),
        ("ptycho train --callback ", ["Note"]),
        ("ptycho train --network unr", ["unrolled"]),
        ("ptycho train --preset qui", ["quick"]),
        ("ptycho train --loss ", ["poisson", "amplitude", "object"]),
        ("ptycho train --scheduler stairs --scheduler-option ", ["factor=", "floor="]),
        ("ptycho train --scheduler Exponential --scheduler-option g", ["gamma="]),
        ("ptycho train --callback Note --callback-option ", ["Note.file="]),
        ("ptycho train --set training.ac", ["training.accumulate_grad_batches="]),
        (
            "ptycho train --scheduler MultiStage --scheduler-option ramp=",
            ["ramp=linear", "ramp=cosine", "ramp=quadratic"],
        ),
        ("ptycho train --scheduler MultiStage --scheduler-option ramp=co", ["ramp=cosine"]),
        (
            "ptycho train --scheduler stairs --set scheduler.options.f",
            ["scheduler.options.factor=", "scheduler.options.floor="],
        ),
        ("ptycho train --scheduler MultiStage --set scheduler.options.ramp=q", ["scheduler.options.ramp=quadratic"]),
        ("ptycho train --set loss.name=a", ["loss.name=amplitude"]),
        (
            "ptycho train --set execution.deterministic=",
            ["execution.deterministic=true", "execution.deterministic=false"],
        ),
        ("ptycho train --set scheduler.name=St", ["scheduler.name=Stairs"]),
        ("ptycho train --set training.epochs=", []),
        ("ptycho train --logger t", ["tensorboard"]),
        ("ptycho train --no-plugin ", ["beamline-broken", "beamline-stairs"]),
        ("ptycho train --no-plugin beamline-stairs --scheduler S", []),
        ("ptycho inspect-config --explain optimizer.l", ["optimizer.learning_rate"]),
        ("ptycho schedulers show St", ["Stairs"]),
    ],
)
def test_tab_offers_what_fits(shell: dict[str, str], line: str, expected: list[str]) -> None:
    assert complete(shell, line) == expected


def test_tab_lists_a_plugins_scheduler_after_the_built_in_ones(shell: dict[str, str], tmp_path: Path) -> None:
    """No slow package is loaded for it, and a broken plugin is no hindrance."""
    offered = complete(shell, "ptycho train --scheduler ", SEEN=str(tmp_path / "seen"))

    assert offered[0] == "Default"
    assert offered[-1] == "Stairs"
    assert not HEAVY.intersection((tmp_path / "seen").read_text().split())
    assert "Stairs" not in complete(shell, "ptycho train --scheduler ", PTYCHO_NO_PLUGINS="1")


def test_bash_itself_completes_with_the_script_that_is_installed(shell: dict[str, str]) -> None:
    script = subprocess.run(
        ["ptycho"], env={**shell, "_PTYCHO_COMPLETE": "source_bash"}, capture_output=True, text=True, check=True
    ).stdout
    press = 'COMP_WORDS=(ptycho train --scheduler St); COMP_CWORD=3; _ptycho_completion ptycho; echo "${COMPREPLY[@]}"'

    done = subprocess.run(["bash", "-c", f"{script}\n{press}"], env=shell, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["Stairs"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--scheduler", "MultiStage", "--scheduler-option", "ramp", "=", "co"), ["cosine"]),
        (("--scheduler", "MultiStage", "--scheduler-option", "ramp", "="), ["linear", "cosine", "quadratic"]),
        (("--set", "loss.name", "=", "p"), ["poisson"]),
        (("--set", "scheduler.name", "=", "St"), ["Stairs"]),
        (("--set", "loss.name", "=", "poisson", "--scheduler", "St"), ["Stairs"]),
    ],
)
def test_bash_splits_at_the_sign_and_gets_the_value_alone(
    shell: dict[str, str], words: tuple[str, ...], expected: list[str]
) -> None:
    """As bash hands the words over, each in a line; the part after the sign is what it replaces."""
    line = "\n".join(("ptycho", "train", *words))
    asked = {"_PTYCHO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(1 + len(words))}

    done = subprocess.run(["ptycho"], env={**shell, **asked}, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == expected


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_get_the_whole_word(shell: dict[str, str], name: str) -> None:
    line = "ptycho train --scheduler MultiStage --scheduler-option ramp=co"
    asked = {
        "_PTYCHO_COMPLETE": f"complete_{name}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }

    done = subprocess.run(["ptycho"], env={**shell, **asked}, capture_output=True, text=True, timeout=60)

    assert "ramp=cosine" in done.stdout
    assert "ramp=linear" not in done.stdout
