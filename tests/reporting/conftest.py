"""A run folder that is written by hand, so that no test of a report needs a training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.sources import library_layer
from ptycho_cli.data.example_frames import ExampleFrames
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.uncertainty_record import Uncertainty
from ptycho_cli.data.write import write_reconstruction
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.training.run_record import new_record

N_FRAMES, N_PIXELS, SIDE = 9, 16, 40


def record_of(scan: str = "scan.h5", **changes: Any) -> dict[str, Any]:
    """The record of a finished run, as ``run.json`` holds it."""
    settings = {"data.paths": (scan,), "training.output_dir": "runs/a", "training.epochs": 3}
    host = load_plugins(())
    resolved = resolve([library_layer(settings)], host.catalogue())
    finding = {
        "id": "frames-blank",
        "severity": "fixed",
        "message": "Frame 3 is blank.",
        "setting": "data.a=1 data.b=2",
    }
    data = {
        "path": scan, "sha256": "ab12", "layout": "native", "n_frames": N_FRAMES, "n_pixels": N_PIXELS,
        "object_pixel_m": 1e-8, "assumptions": ["Positions are in pixels."], "findings": [finding],
    }  # fmt: skip
    verdict = {
        "explained": True, "deviance": 0.6, "expected_deviance": 0.5, "ratio": 1.2, "reasons": [], "worst_frames": [],
        "worst_pixels": [], "findings": [],
    }  # fmt: skip
    made = {
        **new_record(resolved, host, []), "data": [data], "status": "trained", "applied_steps": 6, "verdict": verdict,
        "requested": {"accelerator": "auto", "batch_size": 1}, "effective": {"accelerator": "cpu", "batch_size": 1},
        "reasons": {"accelerator": "auto resolved to cpu"}, "auto": {"physics.alpha": 0.05, "inference.polish": 8},
        "scores": {"trained": {"r_factor": 0.03, "deviance": 0.55}},
    }  # fmt: skip
    return made | changes


def reconstruction(**changes: Any) -> Reconstruction:
    """A small object with two probe modes, shifts, example frames and uncertainty."""
    rng = np.random.default_rng(0)
    shape = (SIDE, SIDE)
    positions = np.stack(np.meshgrid(*[np.arange(3.0) * 8 - 8] * 2, indexing="ij"), -1).reshape(-1, 2)
    coverage = np.zeros(shape, np.float32)
    coverage[4:-4, 4:-4] = 5
    frames = rng.poisson(9.0, (2, N_PIXELS, N_PIXELS)).astype(np.float32)
    ring = np.linspace(0.05, 0.95, 10)
    known = Uncertainty(
        second_half=np.arange(N_FRAMES) % 2 == 0, halves=np.ones((2, *shape), np.complex64),
        amplitude_spread=np.full(shape, 0.1, np.float32), phase_spread_rad=np.full(shape, 0.2, np.float32),
        ring_radius=ring, ring_correlation=1 - ring, ring_half_bit=np.full(10, 0.4), frc50_nyquist=0.5,
        frc143_nyquist=0.85, frc_half_bit_nyquist=0.6, held_out=np.array([4]), held_out_deviance=0.6,
        held_out_r_factor=0.04, held_out_from_training=True,
    )  # fmt: skip
    values: dict[str, Any] = {
        "object": np.exp(0.3j * rng.standard_normal(shape)).astype(np.complex64),
        "probe": np.ones((2, N_PIXELS, N_PIXELS), np.complex64) * np.array([1, 0.3])[:, None, None],
        "positions_px": positions + 0.1, "stored_positions_px": positions, "coverage": coverage,
        "object_origin_px": (-20.0, -20.0), "frame_residual": rng.random(N_FRAMES).astype(np.float32),
        "object_pixel_m": 1e-8, "uncertainty": known, "run_record": {},
        "examples": ExampleFrames(np.array([4, 7]), ("worst", "typical"), np.array([0.9, 0.5]), frames, frames + 1),
    }  # fmt: skip
    return Reconstruction(**values | changes)


def write_run(folder: Path, record: dict[str, Any], result: Reconstruction | None) -> Path:
    """Write a run folder; without a result there is no reconstruction."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    rows = [
        f"{k},{(k - 1) // 2},0.00{7 - k},{2 / k},{'0.8' if k % 2 == 0 else ''},{min(1, (k - 1) / 4)}"
        for k in range(1, 7)
    ]
    header = "step,epoch,learning_rate,train_loss,val_loss,loss_weight"
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    if result is not None:
        write_reconstruction(folder / "reconstruction.h5", result)
    return folder


MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run folder: its name, the name of its scan, its reconstruction if any, and changes of its record."""

    def make(name: str = "star", *, scan: str = "scan.h5", result: dict[str, Any] | None = None, **record: Any) -> Path:
        found = None if result is None else reconstruction(**result)
        return write_run(tmp_path / "runs" / name, record_of(scan, **record), found)

    return make


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with everything that a page can show; tests leave it as it is."""
    return write_run(tmp_path_factory.mktemp("whole") / "star", record_of(), reconstruction())
