"""Electron scans from files: scores of atoms, and units that files state wrongly or not at all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from benchmark_parts.harness import QUALITY_HEADINGS, head, ptycho, ptycho_json, quality, row
from ptycho_cli.calibration.geometry_trials import geometry_findings
from ptycho_cli.data.electron_microscope import Microscope, write_electron_scan
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import DataError

SCANS = 30
OUTCOMES = ("right", "right, reported", "right but for the probe, reported", "refused", "found by trying", "wrong")
# What a file says wrongly: the number, its factor, and its unit (None: no unit).
WRONG: dict[str, tuple[str, float, str | None] | None] = {
    "none (good)": None,
    "voltage in V, no unit": ("voltage", 1e3, None),
    "voltage in V, unit kV": ("voltage", 1e3, "kV"),
    "semi-angle in rad, no unit": ("semi_angle", 1e-3, None),
    "semi-angle in rad, unit mrad": ("semi_angle", 1e-3, "mrad"),
    "angle per pixel in rad, no unit": ("angle_per_pixel", 1e-3, None),
    "angle per pixel in rad, unit mrad": ("angle_per_pixel", 1e-3, "mrad"),
    "step in angstrom, unit m": ("scan_step", 1.0, "m"),
    "step in angstrom, unit nm": ("scan_step", 1.0, "nm"),
    "step in pm, unit angstrom": ("scan_step", 100.0, "angstrom"),
    "step in nm, unit angstrom": ("scan_step", 0.1, "angstrom"),
    "defocus in angstrom, no unit": ("defocus", 1.0, None),
    "defocus in nm, no unit": ("defocus", 0.1, None),
    "defocus in angstrom, unit nm": ("defocus", 1.0, "nm"),
}


def atoms(folder: Path) -> None:
    """The electron file of ``simulate --preset electron``: as it is, without defocus, and with a bare calibration."""
    scan, less, bare = folder / "atoms.h5", folder / "less.h5", folder / "bare.h5"
    ptycho("simulate", "--preset", "electron", "--layout", "electron", "-o", str(scan))
    less.write_bytes(scan.read_bytes())
    with h5py.File(less, "a") as file:
        del file["calibration/defocus"]
    with h5py.File(scan) as file, h5py.File(bare, "w") as other:
        other["data"] = file["data"][()]
        other["voltage_kv"], other["angle_per_pixel_mrad"], other["scan_step_angstrom"] = 80.0, 3.25, 0.5
    head("file", "CPU s", *QUALITY_HEADINGS, "held-out deviance, times photon noise")
    for path in (scan, less, bare):
        trained, cpu_s = ptycho_json("train", str(path), "-o", str(folder / path.stem))
        result = folder / path.stem / "reconstruction.h5"
        scores, _ = ptycho_json("evaluate", str(result), "--truth", str(scan))
        row(path.stem, f"{cpu_s:.0f}", *quality(scores), f"{trained['verdict']['ratio']:.2f}")


def units(folder: Path) -> None:
    """Electron files with one wrong number each: read right, refused, or read wrongly."""
    head("what is wrong", *OUTCOMES)
    counts = {name: Counter[str]() for name in WRONG}
    for seed in range(SCANS):
        microscope, scan = random_scan(seed)
        for name, wrong in WRONG.items():
            write(folder / "scan.h5", scan, microscope, wrong)
            counts[name][outcome(folder / "scan.h5", scan)] += 1
    for name, count in counts.items():
        row(name, *(count[kind] for kind in OUTCOMES))


def random_scan(seed: int) -> tuple[Microscope, Scan]:
    """A scan of 64 frames with a random microscope: 60 to 300 kV, 10 to 35 mrad, either sign of the defocus."""
    rng = np.random.default_rng(seed)
    size, semi_angle = int(rng.choice([32, 48, 64])), float(rng.uniform(10, 35))
    angle = semi_angle / (rng.uniform(0.15, 0.35) * size)
    plain = Microscope(float(rng.choice([60, 80, 120, 200, 300])), semi_angle, 0.0, 0.0, angle)
    pixel = plain.object_pixel_m(size)
    defocus = rng.choice([-1, 1]) * rng.uniform(0.25, 0.55) * size * pixel / (2e-3 * semi_angle)
    step_px = rng.uniform(1.2, 0.12 * size)
    microscope = Microscope(plain.voltage_kv, semi_angle, float(defocus), 0.0, angle, step_px * pixel)
    scan = simulate(
        n_frames=64, n_pixels=size, photons=float(rng.choice([1e4, 1e5, 1e6])),
        object_kind=str(rng.choice(["weak", "texture"])), pattern="grid", step_px=step_px, seed=seed,
        measured_probe=microscope.measured_probe(size),
    )  # fmt: skip
    return microscope, scan


def write(path: Path, scan: Scan, microscope: Microscope, wrong: tuple[str, float, str | None] | None) -> None:
    """Write an electron file with one number in another unit than it says."""
    write_electron_scan(path, scan, microscope, force=True)
    if wrong is None:
        return
    name, factor, unit = wrong
    with h5py.File(path, "a") as file:
        value = file[f"calibration/{name}"][()] * factor
        del file[f"calibration/{name}"]
        file[f"calibration/{name}"] = value
        if unit is not None:
            file[f"calibration/{name}"].attrs["units"] = unit


def outcome(path: Path, truth: Scan) -> str:
    """Whether wavelength, pixel, positions and probe are those of the simulation, and whether anything was said."""
    try:
        scan = read_scan(path)
    except DataError:
        return "refused"
    told = any(item.severity != "note" for item in scan.findings)
    pairs = (
        (scan.wavelength_m, truth.wavelength_m),
        (scan.object_pixel_m, truth.object_pixel_m),
        (np.ptp(scan.positions_px), np.ptp(truth.positions_px)),
    )
    if any(found is None or abs(found / true - 1) > 1e-3 for found, true in pairs):
        tried = geometry_findings(scan)
        return "found by trying" if any(item.id == "positions-unit" for item in tried) else "wrong"
    if scan.probe is None or truth.probe is None:
        return "right but for the probe, reported"
    likeness = np.vdot(scan.probe, truth.probe) / np.linalg.norm(scan.probe) / np.linalg.norm(truth.probe)
    if abs(likeness) < 0.99:
        return "wrong"
    told = told or any(item.id == "positions-unit" for item in geometry_findings(scan))
    return "right, reported" if told else "right"
