"""A file of which a part was not copied is refused, with the name of the part."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import DataError

HALF = 15


@pytest.fixture
def master(tmp_path: Path) -> Path:
    """A scan whose frames are a virtual dataset of two files."""
    scan = simulate(n_frames=2 * HALF, n_pixels=16, photons=1e5, seed=4)
    layout = h5py.VirtualLayout(scan.counts.shape, np.uint32)
    for number in range(2):
        rows = slice(number * HALF, (number + 1) * HALF)
        with h5py.File(tmp_path / f"part_{number}.h5", "w") as file:
            file["frames"] = scan.counts[rows].astype(np.uint32)
        layout[rows] = h5py.VirtualSource(f"part_{number}.h5", "frames", (HALF, 16, 16))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("counts", layout)
        file["positions_px"] = scan.positions_px
    return tmp_path / "scan.h5"


def test_a_missing_file_of_a_virtual_dataset_is_named(master: Path) -> None:
    assert read_scan(master).n_frames == 2 * HALF
    (master.parent / "part_1.h5").unlink()

    with pytest.raises(DataError, match=r"part_1\.h5 is not there.* frames 15 to 29") as refused:
        read_scan(master)

    assert [(item.id, item.severity) for item in refused.value.findings] == [("missing-part", "error")]
    assert "data.max_frames=15" in str(refused.value.hint)
    assert read_scan(master, ReadOptions(max_frames=HALF)).n_frames == HALF


def test_a_missing_dataset_in_a_file_of_a_virtual_dataset_is_named(master: Path) -> None:
    with h5py.File(master.parent / "part_0.h5", "r+") as file:
        file.move("frames", "elsewhere")

    with pytest.raises(DataError, match=r"'frames' of part_0\.h5 is not there"):
        read_scan(master)


@pytest.mark.parametrize("name", ["counts", "positions_px"])
@pytest.mark.parametrize("link", [h5py.ExternalLink("gone.h5", "/frames"), h5py.SoftLink("/raw/gone.h5")])
def test_a_link_that_leads_nowhere_is_named(master: Path, name: str, link: object) -> None:
    with h5py.File(master, "r+") as file:
        del file[name]
        file[name] = link

    with pytest.raises(DataError, match=rf"the link '/{name}' leads to .*gone\.h5") as refused:
        read_scan(master)

    assert refused.value.finding == "missing-part"


def test_a_broken_link_to_something_that_is_not_needed_is_no_fault(master: Path) -> None:
    with h5py.File(master, "r+") as file:
        file["fluorescence"] = h5py.ExternalLink("gone.h5", "/spectra")

    assert read_scan(master).n_frames == 2 * HALF
