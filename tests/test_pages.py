"""Commands on the pages work as printed: all of docs/plugins.md, and those of other pages on small scans."""

from __future__ import annotations

import os
import re
import shlex
import site
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan

ROOT = Path(__file__).parents[1]
# Weaker than what is typed, so that the commands stay as they are and take seconds.
SMALL = {
    "PTYCHO_TRAINING__EPOCHS": "1",
    "PTYCHO_TRAINING__N_GROUPS": "4",
    "PTYCHO_MODEL__OPTIONS__STAGES": "2",
    "PTYCHO_MODEL__OPTIONS__WIDTH": "4",
    "PTYCHO_PHYSICS__PROBE_WARMUP": "0",
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


def test_the_page_on_plugins_leads_from_an_empty_folder_to_trainings(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Every block, in order, as it stands; pip builds the author's two plugins with hatchling."""
    folder = tmp_path / "empty"
    folder.mkdir()

    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(blocks("docs/plugins.md"))],
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


def commands(page: str) -> Iterator[list[str]]:
    """The words of every `ptycho` line of a page's shell blocks; continued lines are one."""
    for block in blocks(page):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("ptycho "):
                yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("page", ["README.md", "docs/data.md", "docs/execution.md", "docs/scheduling.md"])
def test_the_commands_of_a_page_run_one_after_the_other(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    if page == "README.md":  # which speaks of the reader's own scans
        for name, seed in (("scan.h5", 1), ("other_scan.h5", 2)):
            write_scan(tmp_path / name, simulate(n_frames=64, n_pixels=32, photons=1e6, seed=seed))

    typed = list(commands(page))

    assert typed
    for words in typed:
        assert main(words) == 0, f"ptycho {shlex.join(words)}: {capsys.readouterr().err}"


def test_shell_blocks_hold_whole_commands() -> None:
    """A prompt or an ellipsis in a block would be typed as it stands."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    lines = [(page.name, line) for page in pages for text in blocks(str(page)) for line in text.splitlines()]

    assert [item for item in lines if item[1].startswith("$ ") or "..." in item[1].split("#")[0]] == []
