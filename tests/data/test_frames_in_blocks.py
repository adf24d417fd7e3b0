"""A scan that does not fit into memory is read in blocks, and is the same as one in memory, bit for bit."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_cli.data import frame_scratch
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.frame_statistics import largest_of, photons_of, squares_of, total_of, whole_share_of
from ptycho_cli.data.photon_thinning import WithheldFrames, withhold
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.stored_frames import StoredFrames
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import DataError
from ptycho_cli.progress_callback import pass_progress

NONE_GIB = 1e-9
Writer = Callable[[h5py.File, np.ndarray], None]


@pytest.fixture(scope="module")
def good() -> Scan:
    return simulate(n_frames=49, n_pixels=32, photons=1e5, seed=2)


def faulty(scan: Scan) -> np.ndarray:
    """Integer frames with a gap, a hot pixel, a blank frame, a repeated frame, and the beam at the corners."""
    counts = np.fft.ifftshift(scan.counts, axes=(1, 2)).astype(np.uint16)
    counts[:, 14:16, :] = 65535
    counts[:, 3, 8] = 3000
    counts[5] = 0
    counts[9] = counts[8]
    return counts


def negative(scan: Scan) -> np.ndarray:
    """Frames with readout noise, not all finite."""
    counts = scan.counts + np.random.default_rng(3).normal(0, 0.5, scan.counts.shape)
    counts[:, 5, 5] = np.nan
    return counts.astype(np.float32)


def amplitudes(scan: Scan) -> np.ndarray:
    return np.sqrt(scan.counts).astype(np.float32)


def both(path: Path, **options: Any) -> tuple[Scan, Scan]:
    """The scan of a file in memory, and in blocks."""
    whole, blocks = (read_scan(path, ReadOptions(memory_budget_gib=gib, **options)) for gib in (1.0, NONE_GIB))
    assert isinstance(whole.counts, np.ndarray)
    assert isinstance(blocks.counts, FrameStack)
    return whole, blocks


def assert_same(whole: Scan, blocks: Scan) -> None:
    np.testing.assert_array_equal(blocks.counts[:], whole.counts)
    np.testing.assert_array_equal(blocks.counts[[3, 1, 3]], whole.counts[[3, 1, 3]])
    np.testing.assert_array_equal(blocks.mask, whole.mask)
    np.testing.assert_array_equal(blocks.positions_px, whole.positions_px)
    if whole.probe is not None:
        np.testing.assert_array_equal(blocks.probe, whole.probe)
    assert repr(blocks.findings) == repr(whole.findings)  # NaN among the evidence
    assert blocks.assumptions == whole.assumptions
    for statistic in (total_of, photons_of, squares_of, largest_of, whole_share_of):
        np.testing.assert_array_equal(statistic(blocks.counts), statistic(whole.counts))


@pytest.mark.parametrize("make", [faulty, negative, amplitudes])
@pytest.mark.parametrize("options", [{}, {"frame_transform": "rotate_90", "crop_px": 16, "bin": 2, "max_frames": 40}])
def test_findings_and_frames_do_not_depend_on_where_the_frames_are(
    good: Scan, tmp_path: Path, make: Callable[[Scan], np.ndarray], options: dict[str, Any]
) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("diffraction", data=make(good), chunks=(5, 32, 32), compression="gzip")
        file["positions_px"], file["probe"] = good.positions_px, good.probe

    assert_same(*both(tmp_path / "scan.h5", **options))


def test_frames_are_moved_back_each_by_its_own_wherever_they_are(good: Scan, tmp_path: Path) -> None:
    """Also where frames were left out before."""
    away = good.positions_px - good.positions_px.mean(axis=0)
    steps = np.rint(3 * away / np.abs(away).max()).astype(int)
    moved = np.stack([np.roll(frame, tuple(step), (0, 1)) for frame, step in zip(good.counts, steps, strict=True)])
    moved[5] = 0
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("diffraction", data=moved.astype(np.uint16), chunks=(5, 32, 32), compression="gzip")
        file["positions_px"], file["probe"] = good.positions_px, good.probe

    whole, blocks = both(tmp_path / "scan.h5", descan="remove", exclude_frames=("2",))

    assert "beam-descan" in [finding.id for finding in whole.findings]
    assert_same(whole, blocks)


def _raster(file: h5py.File, counts: np.ndarray) -> None:
    file.create_dataset("diffraction", data=counts.reshape(7, 7, 32, 32), chunks=(2, 3, 32, 32))


def _series(file: h5py.File, counts: np.ndarray) -> None:
    file["entry/data_000001"], file["entry/data_000002"] = counts[:20], counts[20:]


def _frames_last(file: h5py.File, counts: np.ndarray) -> None:
    file["diffraction"] = np.moveaxis(counts, 0, -1)


def _virtual(file: h5py.File, counts: np.ndarray) -> None:
    with h5py.File(Path(file.filename).with_name("part.h5"), "w") as other:
        other["frames"] = counts
    layout = h5py.VirtualLayout(counts.shape, counts.dtype)
    layout[:] = h5py.VirtualSource("part.h5", "frames", counts.shape)
    file.create_virtual_dataset("diffraction", layout)


def _linked(file: h5py.File, counts: np.ndarray) -> None:
    with h5py.File(Path(file.filename).with_name("part.h5"), "w") as other:
        other["deep/frames"] = counts[None]
    file["diffraction"] = h5py.ExternalLink("part.h5", "deep/frames")


@pytest.mark.parametrize("write", [_raster, _series, _frames_last, _virtual, _linked])
def test_layouts_are_read_in_blocks(good: Scan, tmp_path: Path, write: Writer) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        write(file, good.counts.astype(np.uint16))
        file["positions_px"] = good.positions_px

    whole, blocks = both(tmp_path / "scan.h5")

    assert isinstance(blocks.counts.base, StoredFrames)  # type: ignore[union-attr]
    assert_same(whole, blocks)


def test_arrays_of_npy_files_are_read_in_blocks(good: Scan, tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", good.counts)
    np.save(tmp_path / "places.npy", good.positions_px)

    whole, blocks = both(tmp_path / "frames.npy", positions="places.npy:")

    assert isinstance(blocks.counts.base, StoredFrames)  # type: ignore[union-attr]
    assert_same(whole, blocks)


def test_own_files_are_converted_in_blocks(good: Scan, tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.h5", good)
    whole, blocks = both(tmp_path / "scan.h5")
    assert_same(whole, blocks)

    write_scan(tmp_path / "again.h5", blocks)

    np.testing.assert_array_equal(read_scan(tmp_path / "again.h5").counts, good.counts)


def test_frames_are_kept_up_to_the_budget_and_can_be_sent_to_other_processes(good: Scan, tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.h5", good)
    frame_bytes = 32 * 32 * 2
    scan = read_scan(tmp_path / "scan.h5", ReadOptions(memory_budget_gib=10 * frame_bytes / 2**30))
    assert isinstance(scan.counts, FrameStack)
    assert isinstance(scan.counts.base, StoredFrames)

    sent = pickle.loads(pickle.dumps(scan.counts))

    assert 0 < scan.counts.base.kept_bytes <= 10 * frame_bytes
    assert len(pickle.dumps(scan.counts)) < 10 * frame_bytes
    np.testing.assert_array_equal(sent[[7, 2]], good.counts[[7, 2]])


@pytest.mark.parametrize("dead", [0, 3], ids=["whole frames", "with a dead margin"])
def test_one_pass_suffices_for_counts_without_faults(
    good: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: int
) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["diffraction"] = np.pad(good.counts.astype(np.uint16), ((0, 0), (dead, dead), (0, 0)))
        file["positions_px"] = good.positions_px
    whole = read_scan(tmp_path / "scan.h5", ReadOptions(memory_budget_gib=1.0))
    passes: list[int] = []
    blocks_of = FrameStack.blocks

    def counted(stack: FrameStack) -> Any:
        passes.append(len(stack))
        return blocks_of(stack)

    monkeypatch.setattr(FrameStack, "blocks", counted)
    blocks = read_scan(tmp_path / "scan.h5", ReadOptions(memory_budget_gib=NONE_GIB))
    largest_of(blocks.counts)

    assert len(passes) == 1
    assert_same(whole, blocks)


CHUNKED: dict[str, Any] = {
    "few frames in a chunk": {"chunks": (5, 32, 32)},
    "parts of frames in a chunk": {"chunks": (20, 8, 16)},
    "big-endian": {"chunks": (5, 32, 32), "dtype": ">u2"},
}


@pytest.mark.parametrize("layout", CHUNKED.values(), ids=CHUNKED)
def test_a_chunk_is_decompressed_at_most_twice(
    good: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: dict[str, Any]
) -> None:
    """Once for the statistics, and once more for a temporary file, in whatever order frames are asked for."""
    counts = good.counts.astype(np.uint16)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("diffraction", data=counts, compression="gzip", **layout)
        file["positions_px"], file["probe"] = good.positions_px, good.probe
    loaded = np.zeros(good.n_frames, dtype=np.int64)
    load = StoredFrames._load

    def counted(frames: StoredFrames, start: int, stop: int) -> np.ndarray:
        loaded[start:stop] += 1
        return load(frames, start, stop)

    monkeypatch.setattr(StoredFrames, "_load", counted)
    whole, blocks = both(tmp_path / "scan.h5")
    loaded[:] -= 1  # of the scan in memory
    order = np.random.default_rng(4).permutation(np.repeat(np.arange(good.n_frames), 6))
    found = np.concatenate([blocks.counts[part] for part in np.array_split(order, 30)])

    np.testing.assert_array_equal(found, whole.counts[order])
    assert loaded.max() <= 2


def test_frames_are_read_from_their_file_where_no_disk_has_room(
    good: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported in one line, since it takes time."""
    write_scan(tmp_path / "scan.h5", good)
    monkeypatch.setattr(frame_scratch, "FREE", 1e12)

    whole, blocks = both(tmp_path / "scan.h5")

    *others, line = blocks.assumptions
    assert re.fullmatch(r"frames beyond data\.memory_budget_gib are decompressed each .* GiB are needed .*", line)
    assert_same(whole, replace(blocks, assumptions=tuple(others)))


def test_a_folder_in_memory_is_no_place_for_frames(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n/dev/sdb {tmp_path}/disk xfs rw 0 0\n")

    in_memory = [frame_scratch.is_in_memory(folder, mounts) for folder in (tmp_path, tmp_path / "disk", Path("/"))]

    assert in_memory == [True, False, False]


@pytest.mark.parametrize("room", [2.0, 1e12], ids=["stored", "drawn again"])
@pytest.mark.parametrize("offset", [0.0, 0.25], ids=["whole", "fractions"])
def test_thinned_photons_are_those_of_frames_in_memory(
    good: Scan, monkeypatch: pytest.MonkeyPatch, room: float, offset: float
) -> None:
    monkeypatch.setattr(frame_scratch, "FREE", room)
    counts, rows = good.counts + np.float32(offset), np.array([8, 3, 8])
    whole = withhold(counts, 0.3, np.random.default_rng(5))

    frames = WithheldFrames(FrameStack(counts), 0.3, np.random.default_rng(5))

    for withheld in (frames, pickle.loads(pickle.dumps(frames))):
        np.testing.assert_array_equal(withheld.of(counts[rows], rows), whole[rows])


def test_an_npz_file_that_exceeds_the_budget_is_refused(good: Scan, tmp_path: Path) -> None:
    np.savez(tmp_path / "scan.npz", diffraction=good.counts, positions_px=good.positions_px)

    with pytest.raises(DataError, match=r"needs 0\.000187 GiB, but data\.memory_budget_gib is 1e-05"):
        read_scan(tmp_path / "scan.npz", ReadOptions(memory_budget_gib=1e-5))


def test_an_array_that_is_larger_as_a_scan_is_handed_out_in_blocks(good: Scan, tmp_path: Path) -> None:
    """The frames fit into memory as they are stored, but not with all that a reconstruction needs besides."""
    np.savez(tmp_path / "scan.npz", diffraction=good.counts.astype(np.uint16), positions_px=good.positions_px)

    whole, blocks = (read_scan(tmp_path / "scan.npz", ReadOptions(memory_budget_gib=gib)) for gib in (1.0, 1e-4))

    assert isinstance(blocks.counts, FrameStack)
    assert_same(whole, blocks)


def test_a_missing_file_is_named_when_frames_are_read(good: Scan, tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.h5", good)
    scan = read_scan(tmp_path / "scan.h5", ReadOptions(memory_budget_gib=NONE_GIB))
    (tmp_path / "scan.h5").unlink()

    with pytest.raises(DataError, match=r"scan\.h5: .*no longer there"):
        pickle.loads(pickle.dumps(scan.counts))[[0]]


@pytest.mark.parametrize("make", [faulty, negative])
def test_progress_counts_the_frames_of_each_pass(
    good: Scan, tmp_path: Path, make: Callable[[Scan], np.ndarray]
) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["diffraction"], file["positions_px"] = make(good), good.positions_px
    seen: list[tuple[str, int, int]] = []

    read_scan(
        tmp_path / "scan.h5", ReadOptions(memory_budget_gib=NONE_GIB),
        progress=pass_progress(lambda *report: seen.append(report), "reading"),
    )  # fmt: skip

    assert seen[0][0] == "reading"
    assert all(done <= total <= good.n_frames for _, done, total in seen)


def test_a_dataset_without_frames_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["diffraction"], file["positions_px"] = np.zeros((0, 32, 32), dtype=np.uint16), np.zeros((0, 2))

    with pytest.raises(DataError, match="expected"):
        read_scan(tmp_path / "scan.h5")


def test_a_dataset_that_claims_too_many_frames_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        stored = file.create_dataset("diffraction", (10**10, 32, 32), np.uint16, chunks=(1, 32, 32))
        stored[0], file["positions_px"] = 1, np.zeros((9, 2))

    with pytest.raises(DataError, match="10000000000 frames of 32 x 32, whose statistics need"):
        read_scan(tmp_path / "scan.h5")
