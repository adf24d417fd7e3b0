"""A training on frames that do not fit into memory is the training on the same frames in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_cli
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import read_reconstruction, write_scan
from ptycho_cli.physics import frame_parts, frame_tensors

FEW = {
    "epochs": 1, "n_groups": 2, "inference.polish": 1, "data.group_size": 8, "physics.probe_warmup": 1,
    "physics.background": 0.0, "physics.refine_intensity": "always",
}  # fmt: skip


REFINER = {"network": "refiner", "network_options": {"physics_stages": 4}, "loss.withheld": 0.3}


@pytest.mark.parametrize("more", [{}, pytest.param(REFINER, marks=pytest.mark.long)], ids=["unrolled", "refiner"])
def test_weights_and_reconstruction_are_equal_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    """Amplitudes are read as they are needed, as in scans of thousands of frames: here, of more than 32.

    It trains twice, which takes seconds: only whole runs pass through all that reads frames.
    """
    monkeypatch.setattr(frame_tensors, "MOST_READ", 32)
    monkeypatch.setattr(frame_parts, "FRAMES_AT_ONCE", 32)
    write_scan(tmp_path / "scan.h5", simulate(n_frames=49, n_pixels=16, photons=1e5, seed=1))

    for name, gib in (("whole", 1.0), ("blocks", 1e-9)):
        settings = {"output_dir": tmp_path / name, "data.memory_budget_gib": gib, **FEW, **more}
        ptycho_cli.train(tmp_path / "scan.h5", **settings)

    whole, blocks = (tmp_path / name for name in ("whole", "blocks"))
    assert (whole / "weights.safetensors").read_bytes() == (blocks / "weights.safetensors").read_bytes()
    assert (whole / "metrics.csv").read_bytes() == (blocks / "metrics.csv").read_bytes()
    found = [read_reconstruction(folder / "reconstruction.h5") for folder in (whole, blocks)]
    np.testing.assert_array_equal(found[0].object, found[1].object)
    np.testing.assert_array_equal(found[0].frame_residual, found[1].frame_residual)
    records = [json.loads((folder / "run.json").read_text()) for folder in (whole, blocks)]
    assert records[0]["verdict"] == records[1]["verdict"]
