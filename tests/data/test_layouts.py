"""Layouts of other scans: other sizes, units, forms of numbers, and files that hold only a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import DataError

ROWS, COLUMNS = 5, 6
SIMULATED = simulate(n_frames=ROWS * COLUMNS, n_pixels=16, photons=1e5, seed=4)
COUNTS = SIMULATED.counts.astype(np.uint16)
PIXEL_M, WAVELENGTH_M, DETECTOR_PIXEL_M = 2e-8, 1.2e-10, 55e-6
DISTANCE_M = PIXEL_M * 16 * DETECTOR_PIXEL_M / WAVELENGTH_M
ENERGY_EV = 1.2398419843320026e-6 / WAVELENGTH_M
POSITIONS = SIMULATED.positions_px
METRES = PIXEL_M * POSITIONS
GEOMETRY = ReadOptions(distance_m=DISTANCE_M, detector_pixel_m=DETECTOR_PIXEL_M)
ENTRY = "entry_1/instrument_1"


def hdf5(path: Path, arrays: dict[str, Any], units: dict[str, str] | None = None) -> Path:
    with h5py.File(path, "w") as file:
        for place, value in arrays.items():
            file[place] = value
        for place, unit in (units or {}).items():
            file[place].attrs["units"] = unit
    return path


def same_scan(scan: Scan, frames: Any = slice(None)) -> None:
    np.testing.assert_array_equal(scan.counts * scan.mask, SIMULATED.counts[frames] * scan.mask)
    expected = POSITIONS[frames]
    np.testing.assert_allclose(scan.positions_px - scan.positions_px[0], expected - expected[0], atol=1e-2)
    assert scan.object_pixel_m == pytest.approx(PIXEL_M, rel=1e-3)


@pytest.mark.parametrize(
    ("energy", "distance", "scale", "stated"),
    [
        (ENERGY_EV * 1.602176634e-19, DISTANCE_M, 1.0, (None, None, None)),
        (ENERGY_EV, DISTANCE_M * 1e3, 1e6, ("eV", "mm", "um")),
        (ENERGY_EV / 1e3, DISTANCE_M * 1e2, 1e3, ("keV", "cm", "mm")),
        ([ENERGY_EV], [DISTANCE_M], 1.0, (None, None, None)),  # electronvolts in place of joules
    ],
)
@pytest.mark.parametrize("raster", [False, True])
def test_numbers_of_cxi_files_have_the_units_that_they_state(
    tmp_path: Path, energy: Any, distance: Any, scale: float, stated: tuple[str | None, ...], raster: bool
) -> None:
    shape = (ROWS, COLUMNS) if raster else (ROWS * COLUMNS,)
    translation = scale * np.stack([METRES[:, 1], METRES[:, 0], 0 * METRES[:, 0]], axis=1).reshape(*shape, 3)
    numbers = {
        f"{ENTRY}/source_1/energy": energy,
        f"{ENTRY}/detector_1/distance": distance,
        "entry_1/sample_1/geometry_1/translation": translation,
    }
    frames = {f"{ENTRY}/detector_1/data": COUNTS.reshape(*shape, 16, 16)}
    pixel = {f"{ENTRY}/detector_1/x_pixel_size": DETECTOR_PIXEL_M}
    units = {place: unit for place, unit in zip(numbers, stated, strict=True) if unit}

    same_scan(read_scan(hdf5(tmp_path / "a.cxi", frames | pixel | numbers, units)))


def test_geometry_of_nexus_files_is_read_in_its_units_or_given(tmp_path: Path) -> None:
    """As the nanoprobe beamlines of Diamond write them, where distance and pixel may be missing."""
    arrays = {
        "entry/detector/data": COUNTS.reshape(ROWS, COLUMNS, 16, 16),
        "entry/detector/x": 1e3 * METRES[:, 1].reshape(ROWS, COLUMNS),
        "entry/detector/y": 1e3 * METRES[:, 0].reshape(ROWS, COLUMNS),
        "entry/instrument/beam/incident_energy": ENERGY_EV / 1e3,
    }
    units = {"entry/detector/x": "mm", "entry/detector/y": "mm", "entry/instrument/beam/incident_energy": "keV"}
    whole = arrays | {"entry/instrument/d/distance": 1e3 * DISTANCE_M, "entry/instrument/d/x_pixel_size": 55.0}
    more = units | {"entry/instrument/d/distance": "mm", "entry/instrument/d/x_pixel_size": "um"}

    same_scan(read_scan(hdf5(tmp_path / "a.nxs", arrays, units), GEOMETRY))
    same_scan(read_scan(hdf5(tmp_path / "b.nxs", whole, more)))


@pytest.mark.parametrize("x_is_fast", [True, False])
def test_a_raster_has_positions_from_one_array_for_each_axis(tmp_path: Path, x_is_fast: bool) -> None:
    slow, fast = 2e-8 * np.arange(ROWS), 4e-8 * np.arange(COLUMNS)
    y, x = (slow, fast) if x_is_fast else (fast, slow)
    arrays = {"data": COUNTS.reshape(ROWS, COLUMNS, 16, 16), "stage/y": y, "stage/x": x}

    found = read_scan(hdf5(tmp_path / "a.h5", arrays), ReadOptions(object_pixel_m=PIXEL_M)).positions_px

    first, second = (0, 1) if x_is_fast else (1, 0)
    np.testing.assert_allclose(np.ptp(found, axis=0)[[first, second]], [ROWS - 1, 2 * (COLUMNS - 1)], atol=1e-6)
    np.testing.assert_allclose((found[1] - found[0])[second], 2.0, atol=1e-6)


def test_the_axes_of_a_raster_may_be_named(tmp_path: Path) -> None:
    slow, fast = np.arange(ROWS)[None] * 2.0, np.arange(COLUMNS) * 4.0
    arrays = {"data": COUNTS.reshape(ROWS, COLUMNS, 16, 16), "log/slow": slow, "log/fast": fast}
    path = hdf5(tmp_path / "a.h5", arrays)

    found = read_scan(path, ReadOptions(positions="log/slow,log/fast", position_unit="px")).positions_px

    expected = np.stack(np.meshgrid(slow[0], fast, indexing="ij"), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(found - found[0], expected, atol=1e-9)


def test_attributes_of_the_frames_are_their_geometry(tmp_path: Path) -> None:
    """As LYNX writes them: numbers, or texts of numbers, beside the frames, and positions in another file."""
    path = hdf5(tmp_path / "a.h5", {"entry/data/eiger_4": COUNTS})
    hdf5(tmp_path / "pos.h5", {"xy": 1e6 * METRES[:, ::-1]}, {"xy": "um"})
    with h5py.File(path, "r+") as file:
        stated = {"Detector_distance_m": DISTANCE_M, "Photon_energy_kev": str(ENERGY_EV / 1e3), "Pixel_size": 55e-6}
        file["entry/data/eiger_4"].attrs.update(stated)

    same_scan(read_scan(path, ReadOptions(positions="pos.h5:/xy", position_order="xy")))


def test_positions_of_some_frames_select_these(tmp_path: Path) -> None:
    chosen = np.random.default_rng(3).permutation(len(COUNTS))[:20]
    arrays = {"diffraction": COUNTS, "probe_position_indexes": 7 + chosen, "indexes": 7 + np.arange(len(COUNTS))}
    arrays |= {"probe_position_y_m": METRES[chosen, 0], "probe_position_x_m": METRES[chosen, 1]}

    same_scan(read_scan(hdf5(tmp_path / "a.h5", arrays), ReadOptions(object_pixel_m=PIXEL_M)), np.sort(chosen))


def test_pixels_without_weight_are_masked(tmp_path: Path) -> None:
    weights = np.ones(COUNTS.shape)
    weights[:, 3:5, 4:8] = 0
    arrays = {"meta/energy": ENERGY_EV / 1e3, "meta/distance": DISTANCE_M, "meta/psize": [DETECTOR_PIXEL_M] * 2}
    for number, rows in enumerate((slice(None, 17), slice(17, None))):
        chunk = {"data": COUNTS[rows], "positions": METRES[rows], "weights": weights[rows]}
        arrays |= {f"chunks/{number}/{name}": value for name, value in chunk.items()}

    scan = read_scan(hdf5(tmp_path / "a.ptyd", arrays))

    same_scan(scan)
    assert not scan.mask[3:5, 4:8].any()


def test_pairs_are_found_from_either_file_or_joined(tmp_path: Path) -> None:
    parameters = {"ppY": METRES[None, :, 0], "ppX": METRES[None, :, 1], "dx": [[PIXEL_M]]}
    hdf5(tmp_path / "a_dp.hdf5", {"dp": np.swapaxes(COUNTS, 1, 2)})
    hdf5(tmp_path / "a_para.hdf5", parameters)

    same_scan(read_scan(tmp_path / "a_dp.hdf5"))
    same_scan(read_scan(tmp_path / "a_para.hdf5"))
    same_scan(read_scan(hdf5(tmp_path / "both.hdf5", {"dp": COUNTS, **parameters})))


def test_a_reconstruction_of_ptypy_is_called_one(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.ptyr", {"content/obj/S/data": COUNTS[:1] + 0j, "content/probe/S/data": COUNTS[:1] + 0j})

    with pytest.raises(DataError, match="a reconstruction of ptypy"):
        read_scan(path)
