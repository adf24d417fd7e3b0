"""Commands on the pages work as printed: all of the pages on plugins, and those of other pages on small scans."""

from __future__ import annotations

import bz2
import io
import os
import re
import shlex
import shutil
import site
import subprocess
import venv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ptycho_cli.calibration import verdict
from ptycho_cli.cli import demo
from ptycho_cli.cli.app import main
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PTYCHO_TEST_DATA", ROOT.parent / "shared" / "data"))
PLUGIN_KINDS = ("scheduler", "callback", "network", "reader")
TUTORIALS = [path for path in sorted((ROOT / "docs" / "tutorials").glob("*.md")) if "_plugin" not in path.stem]
# Weaker than what is typed, so that the commands stay as they are and take seconds.
SMALL = {
    "PTYCHO_TRAINING__EPOCHS": "1",
    "PTYCHO_TRAINING__N_GROUPS": "4",
    "PTYCHO_MODEL__OPTIONS__STAGES": "2",
    "PTYCHO_MODEL__OPTIONS__WIDTH": "4",
    "PTYCHO_PHYSICS__PROBE_WARMUP": "0",
    "PTYCHO_DATA__GROUP_SIZE": "16",
}
TINY = {key: value for key, value in SMALL.items() if "OPTIONS" not in key} | {
    "PTYCHO_TRAINING__REPORT": "false",
}


def blocks(page: str) -> list[str]:
    return re.findall(r"(?ms)^```sh\n(.*?)^```$", (ROOT / page).read_text())


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A fresh virtual environment in which ptycho is installed and nothing can be downloaded.

    It sees the packages of the environment that runs the tests; what the page installs goes into its own.
    """
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    packages = next(folder.glob("lib/python*/site-packages"))
    shared = [path for path in (*site.getsitepackages(), str(ROOT)) if os.path.isdir(path)]
    (packages / "shared.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in shared))
    program = programs / "ptycho"
    program.write_text(f"#!{programs / 'python'}\nimport sys\nfrom ptycho_cli.cli.app import main\nsys.exit(main())\n")
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PTYCHO_", "PIP_", "PYTHON"))}
    pip = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **pip, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.long
def test_the_pages_on_plugins_lead_from_an_empty_folder_to_trainings(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Every block, in order, as it stands; pip builds the author's plugins with hatchling."""
    folder = tmp_path / "empty"
    folder.mkdir()
    pages = [*(f"docs/tutorials/{kind}_plugin.md" for kind in PLUGIN_KINDS), "docs/plugins.md"]
    script = "\n".join("\n".join((f"cd {folder}", *blocks(page))) for page in pages)

    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    assert "ptycho-mine 0.1.0 (mine): ok" in done.stdout
    rates = (folder / "ptycho-mine" / "runs" / "mine" / "metrics.csv").read_text().splitlines()[1:]
    steps = len(rates) - 1
    expected = [2e-3 * (1 - 0.9 * step / steps) for step in range(steps + 1)]
    assert [float(row.split(",")[2]) for row in rates] == pytest.approx(expected)
    assert (folder / "ptycho-counter" / "runs" / "count" / "count.txt").read_text() == "2 of 2\n"
    assert "run_0001.h5 (MyBeamline of ptycho-beam 0.1.0)" in done.stdout
    assert (folder / "ptycho-beam" / "runs" / "beam" / "reconstruction.h5").exists()


class Step(NamedTuple):
    """One command of a page, or one script of Python that a page pipes into ``python -``."""

    words: list[str]
    script: str = ""
    may_fail: bool = False


def steps(page: str) -> Iterator[Step]:
    """Commands and scripts of a page's shell blocks in order; continued lines are one."""
    for block in blocks(page):
        parts = re.split(r"(?ms)^python - <<'EOF'\n(.*?)^EOF$", block)
        for number, part in enumerate(parts):
            if number % 2:
                yield Step([], part)
                continue
            for line in part.replace("\\\n", " ").splitlines():
                if line.startswith("ptycho "):
                    command, _, otherwise = line.partition(" || ")
                    yield Step(shlex.split(command, comments=True)[1:], may_fail=otherwise == "true")


def run_page(page: str, capsys: pytest.CaptureFixture[str], change: Callable[[list[str]], list[str]] = list) -> int:
    """Run what a page says, each command as ``change`` returns it; return the number of commands."""
    count = 0
    for step in steps(page):
        if step.script:
            exec(compile(step.script, page, "exec"), {})
            continue
        code = main(change(step.words))
        assert code == 0 or step.may_fail, f"ptycho {shlex.join(step.words)}: {capsys.readouterr().err}"
        count += 1
    return count


LONG_PAGES = [pytest.param(page, marks=pytest.mark.long) for page in ("docs/data.md", "docs/execution.md")]


@pytest.mark.parametrize("page", ["README.md", "docs/scheduling.md", *LONG_PAGES])
def test_the_commands_of_a_page_run_one_after_the_other(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    if page == "README.md":  # which speaks of the reader's own scans
        for name, seed in (("scan.h5", 1), ("other_scan.h5", 2)):
            write_scan(tmp_path / name, simulate(n_frames=30, n_pixels=32, photons=1e6, seed=seed))

    assert run_page(page, capsys)


# With fewer than 32 no other geometries are tried, which takes longest; one page is about them, one halves its scan.
FRAMES = {"bad_reconstruction": 36, "low_dose": 36}


def smaller(words: list[str], frames: int = 25) -> list[str]:
    """The same command, but a simulated scan has few small frames, and photons in proportion."""
    if words[0] != "simulate":
        return words
    photons = float(words[words.index("--photons") + 1]) if "--photons" in words else 1e6
    step = ["--step", "2"] if "--step" in words else []
    size = "32" if "--preset" in words else "16"  # which must hold the aperture of an electron microscope
    return [*words, "--frames", str(frames), "--size", size, "--photons", f"{photons / 16:g}", *step]


def stand_in_for_the_star(path: Path) -> None:
    """A simulated scan in the layout of the measured one: extra axes, and zero frequency in the corner."""
    scan = simulate(n_frames=30, n_pixels=32, photons=1e6, seed=1)
    archive = io.BytesIO()
    arrays = {"data": np.fft.ifftshift(scan.counts, axes=(-2, -1))[None], "scan": scan.positions_px[None]}
    np.savez(archive, **arrays, probe=scan.probe[None, None, None, :1])
    path.write_bytes(bz2.compress(archive.getvalue()))


@pytest.mark.parametrize("name", [path.stem for path in TUTORIALS])
def test_the_commands_of_a_tutorial_run_on_small_scans(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for key, value in TINY.items():
        monkeypatch.setenv(key, value)
    if name != "bad_reconstruction":  # small trainings explain too little, and other geometries would be tried
        monkeypatch.setattr(verdict, "doubtful", lambda score: False)
    if name == "measured_scan":
        stand_in_for_the_star(tmp_path / "siemens-star-small.npz.bz2")
    if name == "demo":
        monkeypatch.setattr(demo, "commands", small_demo(demo.commands))

    assert run_page(f"docs/tutorials/{name}.md", capsys, partial(smaller, frames=FRAMES.get(name, 25)))


def small_demo(commands: Callable[[Path], list[list[str]]]) -> Callable[[Path], list[list[str]]]:
    """The demo's own commands on smaller scans, with fewer epochs."""

    def small(folder: Path) -> list[list[str]]:
        typed = [smaller(words) for words in commands(folder)]
        return [["1" if word == "8" else word for word in words] for words in typed]

    return small


@pytest.mark.long
@pytest.mark.parametrize("name", [path.stem for path in TUTORIALS])
def test_the_commands_of_a_tutorial_run_as_they_stand(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "measured_scan":
        star = DATA / "siemens_star" / "siemens-star-small.npz.bz2"
        if not star.exists():
            pytest.skip(f"{star} does not exist")
        shutil.copy(star, tmp_path)

    assert run_page(f"docs/tutorials/{name}.md", capsys)


def test_shell_blocks_hold_whole_commands() -> None:
    """A prompt or an ellipsis in a block would be typed as it stands."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/tutorials").glob("*.md"))]
    lines = [(page.name, line) for page in pages for text in blocks(str(page)) for line in text.splitlines()]

    assert [item for item in lines if item[1].startswith("$ ") or "..." in item[1].split("#")[0]] == []
