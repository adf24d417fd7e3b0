"""The archive for a question: complete enough to repeat it, and without paths and names."""

from __future__ import annotations

import getpass
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.read import read_scan
from ptycho_cli.reporting.question_bundle import scrubbed

MakeRun = Callable[..., Path]


@pytest.fixture
def bundle(make_run: MakeRun, small_scan: Path, tmp_path: Path) -> Path:
    """The archive of a run on a scan whose name, and that of its folder, is private."""
    scan = tmp_path / "Jane Doe" / "secret sample 7.h5"
    scan.parent.mkdir()
    scan.write_bytes(small_scan.read_bytes())
    finding = {"id": "frames-blank", "severity": "note", "message": f"secret sample 7 is odd, see {scan}."}
    data = {"path": str(scan), "n_frames": 100, "n_pixels": 32, "findings": [finding], "assumptions": []}
    run = make_run("secret run", scan=str(scan), data=[data], process={"host": "beamline9", "pid": 3})
    assert main(["report", str(run), "--bundle", "--quiet"]) == 0
    return run / "question.zip"


def test_no_path_and_no_name_is_left(bundle: Path, tmp_path: Path) -> None:
    private = ("secret", "Jane", "beamline9", str(tmp_path), "pid")
    with zipfile.ZipFile(bundle) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}

    assert set(contents) == {"README.txt", "question.json", "command.txt", "metrics.csv", "scan.h5"}
    for name, content in contents.items():
        for word in private:
            assert word.encode() not in content, (name, word)
    record = json.loads(contents["question.json"])
    assert record["data"][0]["findings"][0]["message"] == "scan.h5 is odd, see scan.h5."


def test_files_with_names_of_commands_and_settings_leave_these_as_they_are(
    make_run: MakeRun, small_scan: Path, tmp_path: Path
) -> None:
    scan = tmp_path / "data" / "train.h5"
    scan.parent.mkdir()
    scan.write_bytes(small_scan.read_bytes())
    run = make_run("poisson", scan="data/train.h5", data=[{"path": "data/train.h5", "findings": [], "assumptions": []}])
    assert main(["report", str(run), "--bundle", "--data", str(scan), "--quiet"]) == 0

    with zipfile.ZipFile(run / "question.zip") as archive:
        record = json.loads(archive.read("question.json"))
        command = archive.read("command.txt").decode()

    assert command.startswith("ptycho train ")
    assert command.rstrip().endswith(" scan.h5")
    assert record["config"]["loss"]["name"] == "poisson"
    assert record["config"]["data"]["paths"] == ["scan.h5"]
    assert record["data"][0]["path"] == "scan.h5"


def test_a_run_that_is_called_like_its_plugin_leaves_the_name_of_the_plugin(
    make_run: MakeRun, small_scan: Path
) -> None:
    plugin = {"distribution": "ptycho-restarts", "version": "1.0", "schedulers": ["Restarts"]}
    run = make_run("restarts", plugins=[plugin], reasons={"scheduler": "restarts, in runs/restarts"})
    assert main(["report", str(run), "--bundle", "--data", str(small_scan), "--quiet"]) == 0

    with zipfile.ZipFile(run / "question.zip") as archive:
        record = json.loads(archive.read("question.json"))

    assert record["plugins"] == [plugin]


def test_its_frames_are_neighbours_and_read_as_a_scan(bundle: Path, small_scan: Path, tmp_path: Path) -> None:
    """64 frames of the 100, with their positions, without the known object."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extract("scan.h5", tmp_path)
    part, whole = read_scan(tmp_path / "scan.h5"), read_scan(small_scan)

    assert part.n_frames == 64
    assert part.truth is None
    with h5py.File(tmp_path / "scan.h5") as file:
        rows = file["stored_frames"][()]
    np.testing.assert_allclose(part.positions_px, whole.positions_px[rows], atol=1e-9)
    distance = np.linalg.norm(whole.positions_px - np.median(whole.positions_px, axis=0), axis=1)
    assert distance[rows].max() <= np.sort(distance)[63] + 1e-9


def test_its_command_trains_on_its_scan(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        command = archive.read("command.txt").decode()

    assert command == "ptycho train --output-dir RUN --epochs 3 --stop never scan.h5\n"


def test_a_scan_that_has_moved_is_asked_for(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(scan="gone.h5")

    assert main(["report", str(run), "--bundle"]) == 2
    assert "gone.h5: no such file" in capsys.readouterr().err
    assert not (run / "question.zip").exists()
    assert main(["report", str(run), "--data", "x.h5"]) == 2


def test_absolute_paths_are_removed_and_words_kept() -> None:
    words = {getpass.getuser(): "USER", "scan7": "SCAN"}
    text = "/data/visitor/ma1234/x.h5:entry/data, C:\\Users\\me\\a.npz, 1/2 of scan7, scan77, ~/x"

    assert scrubbed(text, words) == "PATH, PATH, 1/2 of SCAN, scan77, PATH"
