"""``NanoMAX`` reads frames, positions and mask of the beamline's files, and leaves other files alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ptycho_nanomax import NANOMAX

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.errors import DataError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.reader_conformance import ReaderConformance

PIXEL_M = 1e-8
COUNTS = np.random.default_rng(0).poisson(50, (12, 16, 16)).astype(np.uint32)
POSITIONS_PX = np.random.default_rng(1).uniform(-50, 50, (12, 2))
OPTIONS = ReadOptions(object_pixel_m=PIXEL_M)


def written(path: Path, counts: Any = COUNTS, *, detector: str = "eiger1m", lines: int | None = None) -> Path:
    y, x = POSITIONS_PX.T * PIXEL_M * 1e6
    with h5py.File(path, "w") as file:
        file[f"entry/measurement/{detector}/frames"] = counts
        for name, column in (("y", y), ("x", x)):
            file[f"entry/measurement/pseudo/{name}"] = column if lines is None else column.reshape(lines, -1)
        file["entry/snapshot/energy"] = [8856.0]
    return path


def read(path: Path) -> Any:
    return read_scan(path, OPTIONS, load_plugins().readers)


class TestNanoMAX(ReaderConformance):
    entry = NANOMAX
    options = OPTIONS

    def scan_files(self, folder: Path) -> Sequence[Path]:
        return [written(folder / "step.h5"), written(folder / "fly.h5", detector="merlin", lines=3)]


@pytest.mark.parametrize("lines", [None, 3])
def test_micrometres_become_object_pixels_and_electronvolts_a_wavelength(tmp_path: Path, lines: int | None) -> None:
    scan = read(written(tmp_path / "000123.h5", lines=lines))

    np.testing.assert_array_equal(scan.counts, COUNTS)
    np.testing.assert_allclose(scan.positions_px, POSITIONS_PX)
    assert scan.wavelength_m == pytest.approx(1.4e-10, rel=1e-3)
    assert scan.layout == "NanoMAX of ptycho-nanomax 0.1.0"
    assert any("data.flip_positions" in line for line in scan.assumptions)


@pytest.mark.parametrize(("kind", "mark"), [(np.uint32, 2**32 - 1), (np.int32, -2)])
def test_pixels_that_the_detector_marks_are_masked(tmp_path: Path, kind: Any, mark: int) -> None:
    counts = COUNTS.astype(kind)
    counts[:, 3, 5] = mark
    scan = read(written(tmp_path / "000123.h5", counts))

    assert not scan.mask[3, 5]
    assert scan.mask.sum() == scan.mask.size - 1
    assert (scan.counts[:, 3, 5] == 0).all()


def test_a_fluorescence_detector_is_not_taken_for_frames(tmp_path: Path) -> None:
    path = written(tmp_path / "000123.h5", detector="xspress3")

    with pytest.raises(DataError, match=r"no diffraction in it; .*xspress3.*asked: .*NanoMAX of ptycho-nanomax"):
        read(path)


def test_axes_of_different_length_are_refused_with_both_lengths(tmp_path: Path) -> None:
    path = written(tmp_path / "000123.h5")
    with h5py.File(path, "a") as file:
        del file["entry/measurement/pseudo/x"]
        file["entry/measurement/pseudo/x"] = np.zeros(11)

    with pytest.raises(DataError, match="12 positions y, but 11 positions x"):
        read(path)


def test_a_collected_file_of_the_layout_is_the_scan_that_it_was_made_from() -> None:
    """Skipped where the collected files are absent."""
    default = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("PTYCHO_TEST_DATA", default)).parent / "cases" / "files"
    if not (folder / "nanomax_000123.h5").exists():
        pytest.skip(f"no collected files at {folder}, which is found from PTYCHO_TEST_DATA")
    base, scan = read_scan(folder / "base.h5"), read(folder / "nanomax_000123.h5")

    np.testing.assert_array_equal(scan.counts, base.counts)
    np.testing.assert_allclose(
        scan.positions_px - scan.positions_px.mean(axis=0),
        base.positions_px - base.positions_px.mean(axis=0),
        atol=1e-6,
    )


def test_the_installed_distribution_offers_it() -> None:
    (record,) = [item for item in load_plugins().plugins if item.distribution == "ptycho-nanomax"]

    assert (record.status, record.names()["readers"]) == ("loaded", ["NanoMAX"])
