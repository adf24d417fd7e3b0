"""Mistakes, each answered by one clear line on stderr and exit code 2, with nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.cli.app import main

N, SIZE = 24, 16
Capture = pytest.CaptureFixture[str]


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    step = np.arange(SIZE) - SIZE // 2
    pattern = 400 * np.exp(-(step[:, None] ** 2 + step**2) / 8)
    return {
        "diffraction": rng.poisson(pattern, (N, SIZE, SIZE)).astype(np.float32),
        "scan_yx_px": rng.uniform(-8, 8, (N, 2)),
        "probe": np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(np.sqrt(pattern)))).astype(np.complex64),
    }


def spoil(name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        content = arrays()
        changed = change(content.pop(name))
        if changed is not None:
            content[name] = changed
        path = folder / "scan.npz"
        np.savez(path, **content)
        return path

    return write


def raw(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def only_metadata(folder: Path) -> Path:
    with h5py.File(folder / "meta.h5", "w") as file:
        file["sample/name"] = "star"
    return folder / "meta.h5"


def truncated(folder: Path) -> Path:
    with h5py.File(folder / "whole.h5", "w") as file:
        for name, array in arrays().items():
            file[name] = array
    content = (folder / "whole.h5").read_bytes()
    (folder / "half.h5").write_bytes(content[: len(content) // 2])
    return folder / "half.h5"


def as_folder(folder: Path) -> Path:
    (folder / "inside").mkdir()
    return folder / "inside"


# What is wrong with the file -> how to make it, and what the line must contain.
BAD_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "nowhere.h5", "no such file"),
    "empty": (raw("empty.h5", b""), "empty"),
    "folder": (as_folder, "folder"),
    "not HDF5": (raw("text.h5", b"these are words, not a scan\n" * 9), "neither an HDF5 nor an NPZ"),
    "broken zip": (raw("scan.npz", b"PK\x03\x04" + b"\x00" * 200), "scan.npz"),
    "truncated HDF5": (truncated, "half.h5"),
    "no diffraction": (only_metadata, "diffraction"),
    "no diffraction in NPZ": (spoil("diffraction", lambda array: None), "diffraction"),
    "no positions": (spoil("scan_yx_px", lambda array: None), "position"),
    "frames of one dimension": (spoil("diffraction", lambda array: array[:, 0, 0]), "(24,)"),
    "positions of three columns": (spoil("scan_yx_px", lambda array: array[:, [0, 1, 1, 1, 0]]), "(24, 5)"),
    "one position too few": (spoil("scan_yx_px", lambda array: array[1:]), "23"),
    "NaN positions": (spoil("scan_yx_px", lambda array: np.where(array > array[2, 1], np.nan, array)), "position"),
    "NaN in all frames": (spoil("diffraction", lambda array: array * np.nan), "zero"),
    "all-zero frames": (spoil("diffraction", np.zeros_like), "zero"),
    "negative counts": (spoil("diffraction", lambda array: array - 0.7), "negative"),
    "probe of another size": (spoil("probe", lambda array: array[2:, 2:]), "(14, 14)"),
    "words for positions": (spoil("scan_yx_px", lambda array: array.astype(str)), "real numbers"),
    "one place for all": (spoil("scan_yx_px", np.zeros_like), "the same place"),
    "positions a light year apart": (spoil("scan_yx_px", lambda array: array * 1e9), "GiB"),
    "two frames": (spoil("diffraction", lambda array: array[:2]), "24 positions"),
}


def refused(words: list[str], capsys: Capture) -> str:
    """Run a command that must be refused, and return its message."""
    code = main(words)
    printed = capsys.readouterr()
    assert code == 2, printed
    assert printed.err.count("error:") == 1, printed.err
    assert "Traceback" not in printed.err
    return " ".join(printed.err.split())


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("command", ["train", "check"])
def test_a_bad_file_is_named_in_one_line(kind: str, command: str, tmp_path: Path, capsys: Capture) -> None:
    make, expected = BAD_FILES[kind]
    path = make(tmp_path)
    run = tmp_path / "run"

    words = ["train", str(path), "-o", str(run), "--quiet"] if command == "train" else ["data", "check", str(path)]
    printed = refused(words, capsys)

    assert path.name in printed
    assert expected in printed
    assert not run.exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scheduler", "Exponental"], "Exponential"),
        (["--scheduler", "Exponential", "--scheduler-option", "gama=0.9"], "gamma"),
        (["--scheduler-option", "gamma=0.9"], "Default"),
        (["--scheduler", "MultiStage", "--loss", "amplitude"], "amplitude"),
        (["--accumulate-grad-batches", "0"], "--accumulate-grad-batches"),
        (["--accumulate-grad-batches", "-2"], "--accumulate-grad-batches"),
        (["--epochs", "abc"], "--epochs"),
        (["--learning-rate", "-1"], "--learning-rate"),
        (["--group-size", "0"], "--group-size"),
        (["--devices", "0"], "--devices"),
        (["--precision", "16"], "32-true"),
        (["--set", "model.widht=3"], "model.options.width"),
        (["--set", "nonsense"], "nonsense"),
        (["--callback", "nosuch"], "nosuch"),
        (["--epcohs", "3"], "--epochs"),
        (["--resume", "nowhere"], "nowhere"),
        (["--resume-schedule", "config"], "--resume"),
        (["-c", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_bad_setting_is_named_with_the_way_out(
    words: list[str], expected: str, small_scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    printed = refused(["train", str(small_scan), "-o", str(tmp_path / "run"), *words], capsys)

    assert expected in printed
    assert not (tmp_path / "run").exists()


def test_a_scan_of_too_few_frames_is_refused_before_anything_is_computed(
    small_scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ["train", str(small_scan), "-o", str(tmp_path / "run"), "--set", "data.max_frames=3", "--quiet"]

    assert "3 frames, expected at least 4" in refused(words, capsys)
    assert not (tmp_path / "run").exists()


def test_an_unknown_key_in_a_file_is_named_with_its_line(small_scan: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "run.yaml").write_text("training:\n  epochs: 3\n  batchsize: 4\n")

    printed = refused(["train", str(small_scan), "-o", str(tmp_path / "run"), "-c", str(tmp_path / "run.yaml")], capsys)

    assert "run.yaml:3" in printed
    assert "training.batch_size" in printed


def test_an_output_folder_that_is_not_empty_keeps_its_content(
    small_scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "results.txt").write_text("years of work")

    printed = refused(["train", str(small_scan), "-o", str(tmp_path)], capsys)

    assert "not empty" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["results.txt"]


def test_a_place_that_cannot_be_written_is_refused(small_scan: Path, tmp_path: Path, capsys: Capture) -> None:
    """Below a file no folder can be made, by root neither."""
    (tmp_path / "file").write_text("")

    assert "file" in refused(["train", str(small_scan), "-o", str(tmp_path / "file" / "run")], capsys)
    assert "file" in refused(["simulate", "-o", str(tmp_path / "file" / "a.h5"), "--frames", "16"], capsys)
    assert "file" in refused(["demo", "-o", str(tmp_path / "file" / "demo")], capsys)


def test_a_near_field_scan_is_refused_with_the_reason(measured: Path, tmp_path: Path, capsys: Capture) -> None:
    path = measured / "petra_nearfield" / "PETRAIII_P25_Near_Field_Ptycho.cxi"

    printed = refused(["train", str(path), "-o", str(tmp_path / "run"), "--quiet"], capsys)

    assert "near-field" in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["tran", "infere", "evalute"])
def test_an_unknown_command_names_the_nearest(command: str, capsys: Capture) -> None:
    near = {"tran": "train", "infere": "infer", "evalute": "evaluate"}[command]
    assert near in refused([command], capsys)


def test_infer_refuses_what_it_cannot_use(small_scan: Path, tmp_path: Path, capsys: Capture) -> None:
    out = str(tmp_path / "o.h5")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")

    assert "nowhere" in refused(["infer", str(tmp_path / "nowhere"), str(small_scan), "-o", out], capsys)
    assert "damaged" in refused(["infer", str(tmp_path / "damaged"), str(small_scan), "-o", out], capsys)
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["schedulers", "show", "Default", "--epochs", "0"], "--epochs is 0, expected at least 1."),
        (["schedulers", "show", "Default", "--epochs", "2.5"], "--epochs is 2.5, expected a whole number."),
        (["simulate", "-o", "a.h5", "--photons", "many"], "--photons is many, expected a number."),
        (["simulate", "-o", "a.h5", "--object", "starr"], "--object is starr, expected one of 'siemens', 'texture'"),
    ],
)
def test_a_value_that_is_no_setting_is_answered_as_one(words: list[str], expected: str, capsys: Capture) -> None:
    printed = refused(words, capsys)

    assert expected in printed
    assert f"ptycho {words[0]}" in printed


def test_evaluate_and_simulate_refuse_what_makes_no_sense(small_scan: Path, tmp_path: Path, capsys: Capture) -> None:
    run = tmp_path.parent / f"{tmp_path.name}-run"
    run.mkdir()
    (run / "reconstruction.h5").touch()

    assert "nowhere.h5" in refused(["evaluate", str(tmp_path / "nowhere.h5"), "--truth", str(small_scan)], capsys)
    assert "photons" in refused(["simulate", "-o", str(tmp_path / "a.h5"), "--photons", "-3"], capsys)
    assert "GiB" in refused(["simulate", "-o", str(tmp_path / "a.h5"), "--frames", "100000000"], capsys)
    assert ".h5" in refused(["simulate", "-o", str(tmp_path / "a.npz"), "--frames", "16"], capsys)
    assert ".h5" in refused(["data", "convert", str(small_scan), "-o", str(tmp_path / "a.tif")], capsys)
    assert "reconstruction.h5" in refused(["evaluate", str(run), "--truth", str(small_scan)], capsys)
    assert "even number" in refused(["simulate", "-o", str(tmp_path / "a.h5"), "--size", "17"], capsys)
    assert list(tmp_path.iterdir()) == []
