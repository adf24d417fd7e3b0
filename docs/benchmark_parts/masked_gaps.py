"""Masked detector gaps that take light: how much of the object the other pixels still determine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark_parts.harness import head, row
from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.scan_canvas import canvas_origin, scan_frames
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.inference.results import result_of, scores
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.physics.polish import polish_object

GAP = slice(9, 13)


def gaps(folder: Path) -> None:
    """SNR in dB with the true probe, from vacuum and from the true object, without and with a cross of gaps."""
    good = simulate(n_frames=100, n_pixels=48, photons=1e6, object_kind="siemens", seed=6)
    mask = good.mask.copy()
    mask[GAP], mask[:, GAP] = False, False
    head("scan", "light in the gaps", "alpha", "vacuum, 24 PIE and 48 polish", "truth, 48 polish", "truth, 192 polish")
    for name, scan in (("good", good), ("gaps", replace(good, mask=mask, counts=good.counts * mask))):
        assert scan.probe is not None
        frames, probe, alpha = scan_frames(scan, dtype=torch.float32), torch.from_numpy(scan.probe), auto_alpha(scan)
        start, _ = run_pie(
            frames, frames.vacuum(), probe, update=ObjectUpdate(4 * alpha), iterations=24, momentum=0.8
        )  # fmt: skip
        truth, lost = _truth(scan, frames), 1 - float(scan.counts.sum() / good.counts.sum())
        for factor in (1.0, 0.1, 4.0) if lost else (1.0,):
            update, found = ObjectUpdate(factor * alpha), []
            for obj, iterations in ((start, 48), (truth, 48), (truth, 192)):
                polished = polish_object(frames, obj, probe, update=update, iterations=iterations)
                found.append(scores(result_of(frames, scan, polished, probe), scan)["complex_snr_db"])
            row(name, f"{lost:.1%}", f"{factor * alpha:.3g}", *(f"{value:.1f}" for value in found))


def _truth(scan: Scan, frames: ScanFrames) -> Tensor:
    """The true object on the canvas of the frames, complex ``(y, x)``."""
    assert scan.truth is not None
    assert scan.truth_origin_px is not None
    start = np.rint(np.subtract(canvas_origin(scan), scan.truth_origin_px)).astype(int)
    outside = np.maximum(0, -start)
    window = np.pad(scan.truth, [(low, shape) for low, shape in zip(outside, frames.shape, strict=True)],
                    constant_values=1)  # fmt: skip
    y, x = start + outside
    return torch.from_numpy(window[y : y + frames.shape[0], x : x + frames.shape[1]].astype(np.complex64))
