"""A good scan has no findings, whatever its object, dose, size, number type and layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.simulated_imperfections import Imperfections
from ptycho_cli.data.simulation import simulate


@pytest.mark.parametrize("number_type", [np.uint16, np.int32, np.uint32, np.float32, np.float64])
def test_a_good_scan_has_no_findings(good: Any, read: Any, ids: Any, number_type: type) -> None:
    counts = good.counts if good.counts.max() < 2**16 else good.counts // 4
    scan = read(good, counts.astype(number_type))

    assert ids(scan) == []
    assert scan.mask.all()
    assert scan.stored_frames is None


@pytest.mark.parametrize("photons", [100.0, 1e3, 1e7])
@pytest.mark.parametrize("imperfections", [Imperfections(), Imperfections(intensity_jitter=0.3, background=1.0)])
@pytest.mark.parametrize("object_kind", ["texture", "siemens", "weak"])
def test_few_photons_and_an_unsteady_beam_are_no_faults(
    read: Any, ids: Any, photons: float, imperfections: Imperfections, object_kind: str
) -> None:
    scan = simulate(
        n_frames=64, n_pixels=32, photons=photons, object_kind=object_kind, seed=5, imperfections=imperfections
    )

    assert ids(read(scan)) == []


def test_measured_scans_have_no_warnings(measured: Path, ids: Any) -> None:
    """The star's zero frequency is at the corners, which is corrected."""
    found = {
        name: ids(read_scan(measured / name))
        for name in ("siemens_star/siemens_star_small.npz", "star64/star64_low_1e4.npz")
    }

    assert found == {"siemens_star/siemens_star_small.npz": ["zero-frequency"], "star64/star64_low_1e4.npz": []}
