"""Masked detector gaps that take light: how much of the object a training keeps without a flag."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from benchmark_parts.harness import head, ptycho, ptycho_json, row, settings

# object, pixels, photons a frame, seed, first row and column of the cross, and its width
CASES = (
    ("siemens", 48, "1e6", 6, 9, 4),
    ("siemens", 48, "1e6", 27, 8, 4),
    ("siemens", 64, "1e6", 5, 15, 5),
    ("texture", 48, "1e6", 3, 9, 3),
    ("weak", 48, "1e6", 4, 8, 4),
    ("siemens", 32, "1e5", 7, 6, 2),
    ("texture", 64, "1e5", 8, 16, 4),
)


def gaps(folder: Path) -> None:
    """SNR in dB of the good scan, of the scan with a cross of gaps without a prior, and with the defaults."""
    head("object", "px", "photons a frame", "light in the gaps", "good scan", "gaps, no prior", "gaps, default")
    for kind, size, photons, seed, first, width in CASES:
        base, cross = folder / "base.h5", slice(first, first + width)
        words = ("--object", kind, "--size", str(size), "--photons", photons, "--seed", str(seed), "--force")
        ptycho("simulate", "-o", str(base), "--frames", "100", *words)
        with h5py.File(base) as file:
            counts, positions, probe = (file[name][()] for name in ("counts", "positions_px", "probe"))
        gap = np.zeros(counts.shape[1:], dtype=np.bool_)
        gap[cross], gap[:, cross] = True, True
        masked = np.where(gap, 2**32 - 1, counts).astype(np.uint32)
        lost = counts[:, gap].sum() / counts.sum()
        for name, values in (("good", counts), ("gaps", masked)):
            np.savez(folder / f"{name}.npz", diffraction=values, scan_yx_px=positions, probe=probe)
        found = (_trained(folder, "good"), _trained(folder, "gaps", "inference.tv_weight=0"), _trained(folder, "gaps"))
        row(kind, size, photons, f"{lost:.1%}", *(f"{value:.1f}" for value in found))


def _trained(folder: Path, name: str, *assignments: str) -> float:
    """SNR of a training on a scan."""
    run = folder / name
    ptycho("train", str(folder / f"{name}.npz"), "-o", str(run), "--force", *settings(*assignments))
    report, _ = ptycho_json("evaluate", str(run / "reconstruction.h5"), "--truth", str(folder / "base.h5"))
    return float(report["complex_snr_db"])
