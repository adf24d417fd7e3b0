"""Files with random damage are read or refused in one line; ``PTYCHO_MUTATIONS=5000`` tries more of them.

Bytes are changed in files of every container, and arrays of HDF5 files are replaced by things of another kind.
"""

from __future__ import annotations

import gzip
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from ptycho_cli.data.hdf5_tree import item_at
from ptycho_cli.data.read import read_scan
from ptycho_cli.errors import DataError, PtychoError

MUTATIONS = int(os.environ.get("PTYCHO_MUTATIONS", "4"))  # of each file
RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(50, (12, 16, 16)).astype(np.uint16)
POSITIONS = RNG.uniform(0, 60, (12, 2))
SCALARS = {"energy": 8e3, "distance": 1.0, "detector_pixel": 55e-6, "name": "a"}
METRES = 1e-8 * POSITIONS
DETECTOR, ENTRY = "entry_1/instrument_1/detector_1", "entry/instrument"
HDF5: dict[str, dict[str, Any]] = {
    "plain": {"diffraction": COUNTS, "positions": METRES, "mask": COUNTS[0] > 0, "probe": COUNTS[0] + 0j, **SCALARS},
    "cxi": {
        f"{DETECTOR}/data": COUNTS, f"{DETECTOR}/distance": 1.0, f"{DETECTOR}/x_pixel_size": 55e-6,
        f"{DETECTOR}/basis_vectors": np.eye(3)[:2], f"{DETECTOR}/corner_position": np.ones(3),
        f"{DETECTOR}/mask": COUNTS[0] * 0, "entry_1/instrument_1/source_1/energy": 1e-15,
        "entry_1/sample_1/geometry_1/translation": np.pad(METRES, ((0, 0), (0, 1))),
    },
    "ptypy": {
        "chunks/0/data": COUNTS, "chunks/0/positions": METRES, "chunks/0/indices": np.arange(12),
        "chunks/0/weights": np.ones(COUNTS.shape), "meta/energy": 8.0, "meta/distance": 1.0, "meta/psize": [1e-5, 1e-5],
    },
    "eiger": {
        "entry/data/data_000001": COUNTS[:7], "entry/data/data_000002": COUNTS[7:], "entry/pos": POSITIONS,
        f"{ENTRY}/detector/detectorSpecific/pixel_mask": COUNTS[0] * 0, f"{ENTRY}/detector/detector_distance": 1.0,
        f"{ENTRY}/beam/incident_wavelength": 1.5,
    },
    "csaxs": {
        "entry/data/data": COUNTS, f"{ENTRY}/eiger/x_pixel_size": 75.0, f"{ENTRY}/monochromator/distance": -1e3,
        f"{ENTRY}/monochromator/energy": 8.0, "positions": METRES,
    },
    "ptychodus": {
        "patterns": COUNTS, "probe_position_y_m": METRES[:, 0], "probe_position_x_m": METRES[:, 1],
        "probe_position_indexes": np.arange(12), "indexes": np.arange(12), "probe": COUNTS[0] + 0j,
    },
    "nsls2": {"diffamp": np.sqrt(COUNTS), "points": METRES.T * 1e6, "lambda_nm": 0.1, "z_m": 1.0, "ccd_pixel_um": 55.0},
    "shelves": {"measurement/n0/data": COUNTS, "measurement/n0/positions": METRES, "measurement/n0/energy": 8.0},
    "emd": {"d/data": COUNTS.reshape(3, 4, 16, 16), **{f"d/dim{i}": np.arange(2.0) for i in range(4)}},
    "hspy": {"Experiments/a/data": COUNTS.reshape(3, 4, 16, 16), "Experiments/a/axis-0/x": 1.0},
    "nion": {"data/a": COUNTS.reshape(3, 4, 16, 16)},
    "native": {"counts": COUNTS, "positions_px": POSITIONS, "mask": COUNTS[0] > 0},
}  # fmt: skip
ATTRIBUTES: dict[str, dict[str, dict[str, Any]]] = {
    "emd": {"d": {"emd_group_type": 1}, "d/dim0": {"units": "nm"}},
    "hspy": {"Experiments/a/axis-0": {"scale": 1.0, "units": "nm"}},
    "nion": {"data/a": {"properties": '{"spatial_calibrations": [{"scale": 1, "units": "nm"}]}'}},
    "native": {"/": {"format": "ptycho_cli scan 1", "object_pixel_m": 1e-8, "truth_origin_px": [0.0, 0.0]}},
    "plain": {"positions": {"units": "um"}, "energy": {"units": "eV"}},
}


def write_hdf5(path: Path, name: str, version: str = "earliest") -> None:
    with h5py.File(path, "w", libver=version) as file:
        for place, value in HDF5[name].items():
            chunks = {"chunks": True, "compression": "gzip"} if np.ndim(value) > 2 and name == "plain" else {}
            file.create_dataset(place, data=value, **chunks)
        for place, attributes in ATTRIBUTES.get(name, {}).items():
            file[place].attrs.update(attributes)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def matlab() -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {"dp": COUNTS, "positions": POSITIONS, "text": "a"}, do_compression=True)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, COUNTS)
    return buffer.getvalue()


OTHERS: dict[str, Callable[[], bytes]] = {
    "npz": lambda: npz(diffraction=COUNTS, positions=METRES, **SCALARS),
    "gzip": lambda: gzip.compress(npz(diffraction=COUNTS, positions=METRES)),
    "npy": npy,
    "matlab": matlab,
}


def with_other_bytes(stored: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, zeroed, cut off, doubled or exchanged, more often near the start, where headers are."""
    data = bytearray(stored)
    for _ in range(int(rng.integers(1, 6))):
        size = len(data) if rng.random() < 0.5 else min(len(data), 2048)
        at, length = int(rng.integers(size)), int(rng.integers(1, 16))
        kind = rng.integers(5)
        if kind == 0:
            data[at : at + length] = rng.bytes(length)
        elif kind == 1:
            data[at : at + length] = bytes([0, 255][int(rng.integers(2))] for _ in range(length))
        elif kind == 2 and rng.random() < 0.3:
            del data[max(at, 16) :]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        else:
            data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def others(rng: np.random.Generator) -> list[Any]:
    """Things of another kind than an array expects."""
    table, counts = np.zeros(12, [("x", "f8"), ("t", "S3")]), COUNTS.astype(np.float64)
    return [
        *(1.0, -1.0, 0.0, np.nan, np.inf, "text", b"\xff\xfe", True, h5py.Empty("f4"), np.zeros(0), np.arange(12)),
        *(table, table[:1], np.array([b"a", b"b"]), np.ones((12, 2)), np.full((12, 2), np.nan), np.zeros((0, 16, 16))),
        *(counts + 0j, np.full(counts.shape, 1e300), np.ones((2, 2)), counts[:, :8], counts.astype(">f2"), -counts),
        *(np.ones((1, 1, 1, 1, 1)), np.ones((3, 4, 16, 16), "?"), rng.normal(size=(12, 3)), 2**63, 1e-320),
        *(np.array(["a", "bc"], h5py.string_dtype()), np.zeros((2, 3), [("real", "f4"), ("imag", "f4")])),
    ]


def replace_items(path: Path, rng: np.random.Generator) -> None:
    """Replace arrays and attributes of an HDF5 file by things of another kind, links, groups, or nothing."""
    with h5py.File(path, "r+") as file:
        paths: list[str] = []
        file.visit(paths.append)
        for place in rng.permutation(np.array(paths))[: int(rng.integers(1, 4))]:
            if item_at(file, place) is None:
                continue
            kind = rng.integers(8)
            attributes = file[place].attrs
            if kind == 0:
                for key in list(attributes):
                    attributes[key] = others(rng)[int(rng.integers(11))]
                attributes["units"] = "mm"
                continue
            del file[place]
            if kind == 1:
                file.create_group(place)
            elif kind == 2:
                file[place] = h5py.SoftLink(["/nowhere", "/", f"/{place}"][int(rng.integers(3))])
            elif kind == 3:
                file[place] = h5py.ExternalLink(["gone.h5", path.name, "/dev/null"][int(rng.integers(3))], "/")
            elif kind == 4:
                file.create_dataset(place, (10**9, 512, 512), np.uint16, chunks=(1, 512, 512))
            elif kind > 4:
                found = others(rng)
                file[place] = found[int(rng.integers(len(found)))]


def read(path: Path) -> None:
    """Read a file; an error must be one line about it."""
    message = "read"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read_scan(path)
        except PtychoError as error:
            message = error.message
    assert message.strip()
    assert "\n" not in message


@pytest.mark.parametrize("name", [*HDF5, *OTHERS])
def test_changed_bytes_are_read_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "scan"
    if name in HDF5:
        write_hdf5(path, name)
    stored = path.read_bytes() if name in HDF5 else OTHERS[name]()
    for seed in range(MUTATIONS):
        path.write_bytes(with_other_bytes(stored, np.random.default_rng(seed)))
        read(path)


@pytest.mark.parametrize("name", HDF5)
def test_items_of_another_kind_are_read_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "scan.h5"
    for seed in range(3 * MUTATIONS):
        write_hdf5(path, name)
        replace_items(path, np.random.default_rng(seed))
        read(path)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e300, 1e-300])
def test_a_probe_without_power_or_with_more_than_numbers_hold_is_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "scan.h5"
    write_hdf5(path, "plain")
    with h5py.File(path, "r+") as file:
        del file["probe"], file["positions"].attrs["units"]
        file["probe"] = np.full((16, 16), value + 0j)

    with pytest.raises(DataError, match="'probe' is zero or not finite"):
        read_scan(path)
