"""Files in which HDF5 would loop for ever are refused before it reads them."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.data import hdf5_check
from ptycho_cli.data.hdf5_check import damaged_heap
from ptycho_cli.data.read import read_scan
from ptycho_cli.errors import DataError

FREE, USED = 0, 1  # an entry of a heap
DAMAGE = {
    "free space without length": (FREE, 0),
    "free space shorter than its header": (FREE, 8),
    "a length that wraps to nothing": (USED, 2**64 - 16),
    "a length beyond the heap": (USED, 2**32),
}


def with_attribute(file: h5py.File) -> None:
    file["frames"] = np.zeros((12, 16, 16))
    file["frames"].attrs["units"] = "photons"


def with_texts(file: h5py.File) -> None:
    file["a/names"] = np.array(["one", "two"], h5py.string_dtype())


def with_parts(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((12, 16, 16), "f8")
    layout[:] = h5py.VirtualSource(".", "frames", (12, 16, 16))
    file.create_virtual_dataset("counts", layout)


def with_reference(file: h5py.File) -> None:
    with_attribute(file)
    file["cell"] = np.array([file["frames"].ref], h5py.ref_dtype)


WRITERS = pytest.mark.parametrize("write", [with_attribute, with_texts, with_parts])
Writer = Callable[[h5py.File], None]


def damage(path: Path, number: int, length: int) -> None:
    """Overwrite the first entry of the first heap."""
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 16
    content[place : place + 16] = struct.pack("<H6xQ", number, length)
    path.write_bytes(content)


@WRITERS
@pytest.mark.parametrize("entry", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_heap_is_found_wherever_hdf5_needs_it(tmp_path: Path, write: Writer, entry: tuple[int, int]) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        write(file)
    assert damaged_heap(path) is None

    damage(path, *entry)

    assert damaged_heap(path) == path
    with pytest.raises(DataError, match=r"scan\.h5: damaged HDF5 file \(a heap without end\)"):
        read_scan(path)


@pytest.mark.parametrize(("block", "size"), [(0, 8), (1024, 4)], ids=["usual", "block of a program, short addresses"])
def test_free_space_of_names_that_leads_back_into_itself_is_found(tmp_path: Path, block: int, size: int) -> None:
    path = tmp_path / "scan.h5"
    layout, access = h5py.h5p.create(h5py.h5p.FILE_CREATE), h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    layout.set_userblock(block)
    layout.set_sizes(size, size)
    access.set_libver_bounds(h5py.h5f.LIBVER_EARLIEST, h5py.h5f.LIBVER_LATEST)
    with h5py.File(h5py.h5f.create(bytes(path), fcpl=layout, fapl=access)) as file:
        with_attribute(file)
        file.create_group("a").create_group("name")
        del file["a/name"]  # which frees a block of the names
    assert damaged_heap(path) is None
    content = bytearray(path.read_bytes())
    starts = [at for at in range(len(content)) if content.startswith(b"HEAP", at)]
    for start in starts:  # each free block names itself as the next
        places = (start + 8 + size, start + 8 + 2 * size)
        first, segment = (int.from_bytes(content[at : at + size], "little") for at in places)
        if first != 1:
            at = block + segment + first
            content[at : at + size] = first.to_bytes(size, "little")
    path.write_bytes(content)

    assert damaged_heap(path) == path
    with pytest.raises(DataError, match=r"scan\.h5: damaged HDF5 file \(a heap without end\)"):
        read_scan(path)


def test_a_damaged_heap_behind_a_reference_is_found(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        with_reference(file)
        places = [struct.pack("<Q", h5py.h5o.get_info(file[name].id).addr) for name in ("frames", "cell")]
    content = path.read_bytes()
    table = content.index(b"SNOD")  # no name leads to the frames any more
    path.write_bytes(content[:table] + content[table:].replace(*places, 1))
    assert damaged_heap(path) is None
    with h5py.File(path) as file:
        assert file["frames"] == file["cell"]

    damage(path, FREE, 0)

    assert damaged_heap(path) == path


def link(file: h5py.File) -> None:
    file["linked"] = h5py.ExternalLink("part_0.h5", "/frames")


def map_file(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((12, 16, 16), "f8")
    layout[:] = h5py.VirtualSource("part_0.h5", "frames", (12, 16, 16))
    file.create_virtual_dataset("mapped", layout)


def map_numbered_files(file: h5py.File) -> None:
    whole = h5py.h5s.create_simple((12, 16, 16), (h5py.h5s.UNLIMITED, 16, 16))
    whole.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (12, 16, 16), (12, 16, 16))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(whole, b"part_%b.h5", b"frames", h5py.h5s.create_simple((12, 16, 16)))
    h5py.h5d.create(file.id, b"mapped", h5py.h5t.NATIVE_DOUBLE, whole, properties)


@pytest.mark.parametrize("write", [link, map_file, map_numbered_files])
def test_a_damaged_heap_of_another_file_is_found(tmp_path: Path, write: Writer) -> None:
    with h5py.File(tmp_path / "part_0.h5", "w") as file:
        with_attribute(file)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        write(file)
    assert damaged_heap(tmp_path / "scan.h5") is None

    damage(tmp_path / "part_0.h5", FREE, 0)

    assert damaged_heap(tmp_path / "scan.h5") == tmp_path / "part_0.h5"


def test_a_file_with_very_many_items_is_searched_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_check, "MOST", 2)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        with_texts(file)
        with_attribute(file)
    assert damaged_heap(tmp_path / "scan.h5") is None

    damage(tmp_path / "scan.h5", FREE, 0)

    assert damaged_heap(tmp_path / "scan.h5") == tmp_path / "scan.h5"


def test_heaps_of_many_texts_and_of_long_ones_are_in_order(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["names"] = np.array([f"frame {number}" * (number % 40) for number in range(3000)], h5py.string_dtype())
        file.attrs["note"] = "x" * 20_000
        file["more"] = np.array([b"y" * 100_000], h5py.string_dtype())
        del file["names"]  # which frees entries

    assert damaged_heap(path) is None


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["b"], file["again"] = h5py.ExternalLink("b.h5", "/"), file["/"]
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")

    assert damaged_heap(tmp_path / "a.h5") is None


def test_files_that_are_no_hdf5_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"GCOL" * 100)

    assert damaged_heap(tmp_path / "a.h5") is None
