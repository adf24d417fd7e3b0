"""Good scans drawn at random, and scans with one known fault each, for docs/data.md and docs/benchmarks.md.

A maker writes a good scan with one fault into a folder and returns the file. It is called like the fault, its first
line says what it does, and ``MAKERS`` has the id of the finding that is to be reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.position_transform import PositionTransform
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.geometry import probe_diameter_px, typical_step_px

Maker = Callable[[Scan, np.random.Generator, Path], Path]
MAKERS: dict[Maker, str] = {}

WAVELENGTH_M, DETECTOR_PIXEL_M, OBJECT_PIXEL_M = 1e-10, 75e-6, 1e-8


def fault(id: str) -> Callable[[Maker], Maker]:
    """Register a maker for a finding."""

    def register(make: Maker) -> Maker:
        MAKERS[make] = id
        return make

    return register


def good_scan(seed: int) -> Scan:
    """A good scan of random object, size, dose, number of frames and pattern."""
    rng = np.random.default_rng(seed)
    return simulate(
        n_frames=int(rng.integers(64, 145)),
        n_pixels=int(rng.choice([32, 48, 64])),
        photons=10 ** rng.uniform(4, 6),
        object_kind=str(rng.choice(["texture", "siemens", "weak"])),
        pattern=str(rng.choice(["raster", "fermat", "random"])),
        seed=int(rng.integers(2**31)),
    )


def save(folder: Path, scan: Scan, counts: Any = None, positions: Any = None, **more: Any) -> Path:
    """Write a scan in pixels under familiar names."""
    content = {
        "diffraction": scan.counts.astype(np.uint32) if counts is None else counts,
        "probe": scan.probe,
        "scan_yx_px": scan.positions_px if positions is None else positions,
    }
    np.savez(folder / "scan.npz", **content | more)
    return folder / "scan.npz"


def save_metres(folder: Path, scan: Scan, **other: Any) -> Path:
    """Write a scan in SI units, from which the object pixel follows."""
    content = {
        "diffraction": scan.counts.astype(np.uint32), "probe": scan.probe,
        "positions": scan.positions_px * OBJECT_PIXEL_M, "energy": 1.23984198433e-6 / WAVELENGTH_M,
        "distance": OBJECT_PIXEL_M * scan.n_pixels * DETECTOR_PIXEL_M / WAVELENGTH_M,
        "x_pixel_size": DETECTOR_PIXEL_M,
    }  # fmt: skip
    np.savez(folder / "scan.npz", **{name: value for name, value in (content | other).items() if value is not None})
    return folder / "scan.npz"


def good_file(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Write a good scan, in pixels or in metres."""
    return save(folder, scan) if rng.random() < 0.5 else save_metres(folder, scan)


def _gap(scan: Scan, rng: np.random.Generator) -> np.ndarray:
    """A row and a column of modules that meet away from the direct beam, bool ``(y, x)``."""
    gap, n = np.zeros((scan.n_pixels, scan.n_pixels), bool), scan.n_pixels
    width = int(rng.integers(1, n // 12 + 1))
    y, x = (int(rng.integers(1, n // 4)) for _ in range(2))
    gap[y : y + width], gap[:, x : x + width] = True, True
    return gap


@fault("pixels-sentinel")
def largest_number_in_gaps(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Gaps between detector modules hold the largest number of the type."""
    counts = scan.counts.astype(np.uint32)
    counts[:, _gap(scan, rng)] = 2**32 - 1
    return save(folder, scan, counts)


@fault("pixels-sentinel")
def minus_one_in_gaps(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Gaps between detector modules hold -1."""
    counts = scan.counts.astype(np.int32)
    counts[:, _gap(scan, rng)] = -1
    return save(folder, scan, counts)


@fault("pixels-sentinel")
def nan_in_gaps(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Gaps between detector modules hold NaN."""
    counts = scan.counts.astype(np.float32)
    counts[:, _gap(scan, rng)] = np.nan
    return save(folder, scan, counts)


@fault("pixels-zingers")
def cosmic_rays(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Cosmic rays hit a pixel or two in one frame out of three."""
    counts = scan.counts.astype(np.uint32)
    for frame in rng.choice(scan.n_frames, scan.n_frames // 3, replace=False):
        y, x = rng.integers(0, scan.n_pixels - 1, 2)
        counts[frame, y, x : x + int(rng.integers(1, 3))] += int(rng.integers(5, 50)) * int(scan.counts.max())
    return save(folder, scan, counts)


@fault("pixels-hot")
def hot_pixels(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Three pixels near the corners count the same large number in every frame."""
    counts = scan.counts.astype(np.uint32)
    for _ in range(3):
        y, x = rng.integers(3, scan.n_pixels // 4, 2)
        counts[:, y, x] = 10 * int(scan.counts.max())
    return save(folder, scan, counts)


@fault("pixels-dead")
def dead_pixels(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Two pixels in the brightest part of the pattern stay 0."""
    counts = scan.counts.astype(np.uint32)
    bright = np.argsort(scan.counts.sum(axis=0).ravel())[::-1][10 : scan.n_pixels]
    for place in rng.choice(bright, 2, replace=False):
        counts[:, place // scan.n_pixels, place % scan.n_pixels] = 0
    return save(folder, scan, counts)


@fault("pixels-dead")
def dead_module(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """A part of the detector at an edge of the frame stays 0."""
    counts, rows = scan.counts.astype(np.uint32), int(rng.integers(scan.n_pixels // 4, scan.n_pixels // 2 - 2))
    np.rot90(counts, int(rng.integers(4)), (1, 2))[:, :rows] = 0
    return save(folder, scan, counts)


@fault("pixels-saturated")
def saturated_pixels(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The detector stops counting at half of what the bright pixels get."""
    bright = np.sort(scan.counts.max(axis=0).ravel())[-scan.n_pixels]
    return save(folder, scan, np.minimum(scan.counts, max(8, round(0.5 * float(bright)))).astype(np.uint32))


@fault("pixels-saturated")
def wrapped_pixels(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The frames are stored as bytes, and brighter pixels begin again at 0."""
    brightest = float(scan.counts.max())
    counts = rng.poisson(scan.counts * (rng.uniform(1.5, 3) * 255 / brightest))
    return save(folder, scan, counts.astype(np.uint8))


@fault("beam-stop")
def beam_stop(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """A round stop hides the direct beam."""
    y, x = np.mgrid[: scan.n_pixels, : scan.n_pixels] - scan.n_pixels // 2
    stop = y**2 + x**2 <= (scan.n_pixels * rng.uniform(0.06, 0.1)) ** 2
    return save(folder, scan, np.where(stop, 0, scan.counts).astype(np.uint32))


@fault("beam-off-centre")
def tilted_beam(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The beam is a quarter of the frame away from the centre."""
    move = rng.choice([-1, 1], 2) * rng.integers(scan.n_pixels // 5, scan.n_pixels // 3, 2)
    return save(folder, scan, np.roll(scan.counts, tuple(move), (1, 2)).astype(np.uint32))


@fault("zero-frequency")
def corners(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The frames are stored as a Fourier transform leaves them."""
    return save(folder, scan, np.fft.ifftshift(scan.counts, axes=(1, 2)).astype(np.uint32))


@fault("negative-noise")
def readout_noise(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """A detector that integrates adds readout noise of half a photon."""
    return save(folder, scan, (scan.counts + rng.normal(0, 0.5, scan.counts.shape)).astype(np.float32))


@fault("stored-amplitude")
def amplitudes(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The frames hold amplitudes."""
    return save(folder, scan, np.sqrt(scan.counts).astype(np.float32))


@fault("stored-logarithm")
def logarithms(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The frames hold logarithms of counts plus one."""
    logarithm = np.log10 if rng.random() < 0.5 else np.log
    return save(folder, scan, logarithm(1 + scan.counts).astype(np.float32))


@fault("dark-offset")
def dark_offset(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The detector's dark offset was not subtracted."""
    return save(folder, scan, (scan.counts + int(rng.integers(20, 1000))).astype(np.uint32))


@fault("counts-gain")
def detector_units(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Every photon counts as a whole number of detector units."""
    return save(folder, scan, scan.counts.astype(np.uint32) * int(rng.integers(3, 200)))


@fault("frame-axes")
def frames_last(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The frames are stored along the last axis."""
    return save(folder, scan, np.ascontiguousarray(np.moveaxis(scan.counts, 0, -1)).astype(np.uint32))


@fault("frames-blank")
def shutter_closed(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The shutter is closed in some frames."""
    counts = scan.counts.astype(np.uint32)
    counts[rng.choice(scan.n_frames, 5, replace=False)] = 0
    return save(folder, scan, counts)


@fault("frames-invalid")
def lost_frame(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """A frame that the detector lost is written as its largest number."""
    counts = scan.counts.astype(np.uint32)
    counts[rng.integers(scan.n_frames)] = 2**32 - 1
    return save(folder, scan, counts)


@fault("frames-invalid")
def half_of_a_frame(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The lower half of a frame is missing."""
    counts = scan.counts.astype(np.uint32)
    counts[rng.integers(scan.n_frames), scan.n_pixels // 2 :] = 0
    return save(folder, scan, counts)


@fault("frames-outlier")
def bright_frames(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Two frames were exposed 20 times too long."""
    counts = scan.counts.astype(np.uint32)
    counts[rng.choice(scan.n_frames, 2, replace=False)] *= 20
    return save(folder, scan, counts)


@fault("frames-outlier")
def shuffled_frame(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The pixels of a frame are shuffled."""
    counts, frame = scan.counts.astype(np.uint32), int(rng.integers(scan.n_frames))
    counts[frame] = rng.permutation(counts[frame].ravel()).reshape(counts.shape[1:])
    return save(folder, scan, counts)


@fault("frames-duplicated")
def repeated_frames(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The detector hands out one image four times."""
    counts, first = scan.counts.astype(np.uint32), int(rng.integers(scan.n_frames - 4))
    counts[first + 1 : first + 4] = counts[first]
    return save(folder, scan, counts)


@fault("positions-unit")
def micrometres(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Positions are in micrometres and everything else in SI units."""
    return save_metres(folder, scan, positions=scan.positions_px * OBJECT_PIXEL_M * 1e6)


@fault("energy-unit")
def kiloelectronvolts(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The photon energy is in keV."""
    return save_metres(folder, scan, energy=1.23984198433e-9 / WAVELENGTH_M)


@fault("wavelength-unit")
def nanometres(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The wavelength is in nanometres."""
    return save_metres(folder, scan, energy=None, wavelength=WAVELENGTH_M * 1e9)


@fault("distance-unit")
def millimetres(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The distance of the detector is in millimetres."""
    distance = OBJECT_PIXEL_M * scan.n_pixels * DETECTOR_PIXEL_M / WAVELENGTH_M
    return save_metres(folder, scan, distance=distance * 1e3)


@fault("pixel-unit")
def pixel_in_micrometres(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The detector pixel is in micrometres."""
    return save_metres(folder, scan, x_pixel_size=DETECTOR_PIXEL_M * 1e6)


@fault("positions-outlier")
def frame_far_away(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """One position is a thousand pixels off."""
    positions = scan.positions_px.copy()
    positions[rng.integers(scan.n_frames)] += rng.choice([-1, 1], 2) * rng.uniform(1000, 2000, 2)
    return save(folder, scan, positions=positions)


@fault("positions-duplicated")
def stage_stands_still(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The stage did not move for a tenth of the scan."""
    positions, first = scan.positions_px.copy(), int(rng.integers(scan.n_frames // 2))
    positions[first : first + scan.n_frames // 10] = positions[first]
    return save(folder, scan, positions=positions)


@fault("positions-axes")
def reversed_y(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The y axis of the positions is reversed."""
    return save(folder, scan, positions=scan.positions_px * [-1, 1])


@fault("positions-axes")
def swapped_columns(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The columns of the positions are x, y."""
    return save(folder, scan, positions=scan.positions_px[:, ::-1].copy())


@fault("positions-rotation")
def rotated_scan(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The scan is rotated by 8 to 25 degrees against the detector."""
    angle = np.deg2rad(rng.choice([-1, 1]) * rng.uniform(8, 25))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return save(folder, scan, positions=scan.positions_px @ turn.T)


@fault("positions-scale")
def wrong_pixel_size(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The object pixel is wrong by 12 to 20 %."""
    return save(folder, scan, positions=scan.positions_px * rng.uniform(1.12, 1.2))


@fault("positions-affine")
def tilted_and_drifting(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """One axis is compressed by 10 to 18 % against the other, and the raster leans by 2 to 5 degrees."""
    signs = rng.choice([-1.0, 1.0], 2)
    transform = PositionTransform(
        asymmetry=signs[0] * rng.uniform(0.1, 0.18), shear_deg=signs[1] * rng.uniform(2.0, 5.0)
    )
    return save(folder, scan, positions=transform(scan.positions_px))


@fault("positions-index")
def first_frame_dropped(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The first frame was dropped, so that each frame has the position of the one before."""
    return save(folder, scan, scan.counts[1:].astype(np.uint32), scan.positions_px[:-1])


@fault("positions-index")
def frame_dropped_midway(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """A frame between a third and two thirds of the scan was dropped, and the last position with it."""
    dropped = int(rng.integers(scan.n_frames // 3, 2 * scan.n_frames // 3))
    counts = np.delete(np.asarray(scan.counts), dropped, axis=0).astype(np.uint32)
    return save(folder, scan, counts, scan.positions_px[:-1])


@fault("positions-error")
def jittering_stage(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The stage misses each position by 1.5 to 2.5 pixels (rms)."""
    errors = rng.normal(0, rng.uniform(1.5, 2.5) / np.sqrt(2), scan.positions_px.shape)
    return save(folder, scan, positions=scan.positions_px + errors)


@fault("overlap-low")
def large_steps(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Neighbouring frames overlap by a fifth of the probe's diameter."""
    assert scan.probe is not None
    step = typical_step_px(scan.positions_px)
    return save(folder, scan, positions=scan.positions_px * 0.8 * probe_diameter_px(scan.probe) / (step or 1.0))


@fault("few-frames")
def few_frames(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """Only the first eight frames are there."""
    return save(folder, scan, scan.counts[:8].astype(np.uint32), scan.positions_px[:8])


@fault("raster-regular")
def regular_raster(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The positions are a regular raster."""
    columns = int(np.sqrt(scan.n_frames))
    return save(folder, scan, positions=4.0 * np.stack(np.divmod(np.arange(scan.n_frames), columns), axis=1))


@fault("probe-size")
def wide_probe(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The probe fills the whole frame."""
    return save(folder, scan, probe=np.ones((scan.n_pixels, scan.n_pixels), np.complex64))


@fault("probe-size")
def probes_of_frames(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The file holds a probe for each frame, of slightly different power and phase."""
    assert scan.probe is not None
    factors = rng.uniform(0.9, 1.1, (scan.n_frames, 1, 1)) * np.exp(2j * np.pi * rng.random((scan.n_frames, 1, 1)))
    return save(folder, scan, probe=(scan.probe[0] * factors).astype(np.complex64))


@fault("near-field")
def near_field(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The file says that the detector is in the near field."""
    write_scan(folder / "scan.h5", replace(scan, near_field="its file says so"), force=True)
    return folder / "scan.h5"


@fault("missing-part")
def file_not_copied(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The frames are a virtual dataset of two files, of which one was not copied."""
    half, shape = scan.n_frames // 2, scan.counts.shape
    with h5py.File(folder / "part_0.h5", "w") as file:
        file["frames"] = scan.counts[:half].astype(np.uint32)
    layout = h5py.VirtualLayout(shape, np.uint32)
    layout[:half] = h5py.VirtualSource("part_0.h5", "frames", (half, *shape[1:]))
    layout[half:] = h5py.VirtualSource("part_1.h5", "frames", (shape[0] - half, *shape[1:]))
    with h5py.File(folder / "scan.h5", "w") as file:
        file.create_virtual_dataset("diffraction", layout)
        file["scan_yx_px"], file["probe"] = scan.positions_px, scan.probe
    return folder / "scan.h5"


@fault("key-unused")
def unused_rotation(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The file holds the rotation of the scan under a name that no reader knows."""
    return save(folder, scan, scan_rotation=float(rng.integers(1, 40)))


@fault("positions-outlier")
def position_not_recorded(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The encoder gave no number for two frames."""
    positions = scan.positions_px.copy()
    positions[rng.choice(scan.n_frames, 2, replace=False)] = np.nan
    return save(folder, scan, positions=positions)


@fault("beam-descan")
def pattern_moves_with_the_scan(scan: Scan, rng: np.random.Generator, folder: Path) -> Path:
    """The pattern moves by 4 to 10 pixels on the detector from one end of the scan to the other."""
    away = scan.positions_px - scan.positions_px.mean(axis=0)
    along = away @ rng.normal(size=(2, 2))
    steps = np.rint(along / np.ptp(along, axis=0).max() * rng.uniform(4, 10)).astype(int)
    counts = np.stack([np.roll(frame, tuple(step), (0, 1)) for frame, step in zip(scan.counts, steps, strict=True)])
    return save(folder, scan, counts.astype(np.uint32))
