"""Integers of a file stay integers until they are on the device, and give the result of the same numbers as floats."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import ptycho_cli
from ptycho_cli.data.batch import Batch, collate
from ptycho_cli.data.groups import Groups
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import read_reconstruction

FEW = {
    "epochs": 1,
    "report": False,
    "n_groups": 2,
    "inference.polish": 1,
    "data.group_size": 8,
    "physics.probe_warmup": 1,
}


@pytest.fixture(scope="module")
def simulated() -> Scan:
    return simulate(n_frames=30, n_pixels=16, photons=1e5, seed=1)


def stored_as(path: Path, scan: Scan, kind: str, *, corner: int | None = None) -> Path:
    counts = scan.counts.astype(kind)
    if corner is not None:
        counts[:, :3, :3] = corner
    with h5py.File(path, "w") as file:
        file["diffraction"], file["positions_px"], file["probe"] = counts, scan.positions_px, scan.probe
    return path


@pytest.mark.parametrize("gib", [1.0, 1e-9], ids=["memory", "blocks"])
@pytest.mark.parametrize(
    ("kind", "corner", "expected"),
    [
        ("u2", None, np.uint16), (">u2", None, np.uint16), ("u4", None, np.uint16), ("i8", None, np.uint16),
        ("f4", None, np.float32), ("i2", -1, np.uint16), ("u2", 2**16 - 1, np.uint16), ("u4", 2**32 - 1, np.uint16),
    ],
)  # fmt: skip
def test_counts_have_the_smallest_type(
    tmp_path: Path, simulated: Scan, gib: float, kind: str, corner: int | None, expected: type
) -> None:
    path = stored_as(tmp_path / "scan.h5", simulated, kind, corner=corner)

    scan = read_scan(path, ReadOptions(memory_budget_gib=gib))

    counts = simulated.counts.copy()
    if corner is not None:
        counts[:, :3, :3] = 0
    assert scan.counts.dtype == expected
    np.testing.assert_array_equal(scan.counts[:], counts)


@pytest.mark.parametrize(("photons", "expected"), [(2e3, np.uint8), (1e8, np.float32)])
def test_few_photons_take_one_byte_and_many_become_real(tmp_path: Path, photons: float, expected: type) -> None:
    scan = simulate(n_frames=49, n_pixels=16, photons=photons, seed=1)

    assert read_scan(stored_as(tmp_path / "scan.h5", scan, "u4")).counts.dtype == expected


@pytest.mark.parametrize("more", [{}, {"network": "refiner", "loss.withheld": 0.3}], ids=["all", "withheld"])
def test_a_training_does_not_depend_on_the_type(tmp_path: Path, simulated: Scan, more: dict[str, object]) -> None:
    """It trains twice, a second each: the weights are where a lost or wrapped number would show."""
    for kind in ("u2", "f4"):
        path = stored_as(tmp_path / f"{kind}.h5", simulated, kind)
        ptycho_cli.train(path, output_dir=tmp_path / kind, **FEW, **more)

    whole, real = (tmp_path / kind for kind in ("u2", "f4"))
    assert (whole / "weights.safetensors").read_bytes() == (real / "weights.safetensors").read_bytes()
    objects = [read_reconstruction(folder / "reconstruction.h5").object for folder in (whole, real)]
    np.testing.assert_array_equal(*objects)


def groups_of(*scans: Scan, withheld: float = 0.0) -> Groups:
    return Groups(scans, group_size=8, n_groups=6, seed=1, validation_fraction=0.1, withheld=withheld)


def test_batches_hold_integers_until_they_are_on_the_device(tmp_path: Path, simulated: Scan) -> None:
    scan = read_scan(stored_as(tmp_path / "scan.h5", simulated, "u2"))
    for withheld in (0.0, 0.25):
        batch = next(iter(GroupLoader(groups_of(scan, withheld=withheld), 2)))

        assert (batch.counts.dtype, batch.target.dtype) == (torch.uint16, torch.uint16)
        on_device = batch.to("cpu").with_real_counts()
        assert (on_device.counts.dtype, on_device.target.dtype) == (torch.float32, torch.float32)
        seen = on_device.counts + (on_device.target if withheld else 0)
        np.testing.assert_array_equal(seen[0], scan.counts[batch.frames[0].numpy()])


def test_counts_that_are_also_the_target_stay_one_tensor(tmp_path: Path, simulated: Scan) -> None:
    """Else each batch would be moved twice, and amplitudes made twice."""
    scan = read_scan(stored_as(tmp_path / "scan.h5", simulated, "u2"))
    groups = groups_of(scan)

    joined = collate([groups.training_group(0, 0), groups.training_group(0, 1)])
    moved = joined.to("meta")

    for batch in (joined, moved, joined.with_real_counts()):
        assert batch.target is batch.counts
    assert moved.counts.device.type == "meta"


def test_scans_of_several_types_are_joined_as_real_numbers(tmp_path: Path, simulated: Scan) -> None:
    whole = read_scan(stored_as(tmp_path / "whole.h5", simulated, "u2"))
    groups = groups_of(whole, simulated)
    one_of_each: dict[int, Batch] = {}
    for index in range(6):
        batch = groups.training_group(0, index)
        one_of_each.setdefault(int(batch.scan), batch)

    joined = collate(list(one_of_each.values()))

    assert len(one_of_each) == 2
    assert joined.counts.dtype == torch.float32
    np.testing.assert_array_equal(joined.counts[0], one_of_each[next(iter(one_of_each))].counts[0].to(torch.float32))
