"""What real beams and detectors do to a scan, and how much of the picture comes back when it is accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptycho_cli.assembly.network import Objective
from ptycho_cli.assembly.physics import frame_photons
from ptycho_cli.data.defects import Defects
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulate import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.inference.reconstruct import reconstruct
from ptycho_cli.inference.run import scores
from ptycho_cli.networks.unrolled import UnrolledNetwork

ALPHA = 0.1


def made(defects: Defects | None = None) -> Scan:
    return simulate(n_frames=144, n_pixels=32, photons=1e6, seed=6, defects=defects)


def snr_db(scan: Scan) -> float:
    """Of the physics alone, with the true probe."""
    assert scan.probe is not None
    network = UnrolledNetwork(stages=6, subsets=3, width=4, alpha=ALPHA)
    objective = Objective(network, torch.from_numpy(scan.probe), torch.tensor([frame_photons(scan)]))
    return float(scores(reconstruct(objective, scan, alpha=ALPHA, untrained=True, polish=30), scan)["complex_snr_db"])


@pytest.fixture(scope="module")
def clean_db() -> float:
    return snr_db(made())


def test_hot_and_dead_pixels_cost_the_picture_nothing_once_masked(clean_db: float, tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.h5", made(Defects(hot_pixels=3, dead_pixels=2)))

    masked, kept = (read_scan(tmp_path / "scan.h5", mask_bad_pixels=wanted) for wanted in (True, False))

    assert snr_db(masked) > clean_db - 1
    assert snr_db(kept) < clean_db - 10
