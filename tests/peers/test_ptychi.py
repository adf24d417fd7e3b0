"""pty-chi, which reads no files, predicts the frames from the arrays of an exported product."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho_cli.data.exports.export_result import export
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.simulation import simulate

pytest.importorskip("ptychi")


def test_its_patches_of_a_product_explain_the_frames_between_pixels_too(tmp_path: Path) -> None:
    """Positions on its object count from the middle of the first pixel, and are those of the middle of a patch."""
    from ptychi.image_proc import extract_patches_fourier_shift

    scan = simulate(n_frames=16, n_pixels=32, photons=1e8, seed=1)
    assert scan.truth is not None
    assert scan.truth_origin_px is not None
    assert scan.probe is not None
    result = Reconstruction(
        object=scan.truth, probe=scan.probe, positions_px=scan.positions_px,
        coverage=np.ones(scan.truth.shape, np.float32), object_origin_px=scan.truth_origin_px, object_pixel_m=1e-8,
    )  # fmt: skip
    export(result, "ptychodus", tmp_path / "product.npz")

    with np.load(tmp_path / "product.npz") as product:
        obj, probe = torch.as_tensor(product["object"][0]), product["probe"][0]
        positions = [
            (product[f"probe_position_{axis}_m"] - product[f"object_center_{axis}_m"]) / product["object_pixel_width_m"]
            + (side - 1) / 2
            for axis, side in zip("yx", obj.shape, strict=True)
        ]

    def misfit(shift_px: float) -> float:
        at = torch.as_tensor(np.stack(positions, axis=1) + np.array([0.0, shift_px]))
        patches = extract_patches_fourier_shift(obj, at, (32, 32)).numpy()
        waves = np.fft.fft2(probe[None] * patches[:, None], norm="ortho")
        rates = np.fft.fftshift(np.abs(waves) ** 2, axes=(-2, -1)).sum(axis=1)
        return float(np.abs(np.sqrt(rates) - np.sqrt(scan.counts)).sum() / np.sqrt(scan.counts).sum())

    assert misfit(0.0) < 0.05  # they shift a patch, this program the probe: the borders differ
    assert misfit(0.0) < 0.8 * min(misfit(-0.25), misfit(0.25))
