"""Good scans of several kinds, and a way to read their arrays as if they were stored in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.interpret import interpret
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate

KINDS = (
    {"object_kind": "texture", "photons": 1e4, "n_pixels": 32, "seed": 1},
    {"object_kind": "siemens", "photons": 1e6, "n_pixels": 32, "seed": 2},
    {"object_kind": "weak", "photons": 1e5, "n_pixels": 48, "seed": 3},
    {"object_kind": "siemens", "photons": 1e4, "n_pixels": 64, "seed": 4},
)
Read = Callable[..., Scan]


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: f"{kind['object_kind']}-{kind['photons']:g}")
def good(request: pytest.FixtureRequest) -> Scan:
    return simulate(n_frames=81, **request.param)


@pytest.fixture(scope="session")
def read() -> Read:
    """Read a scan with other counts or positions, other contents of the file, and options of the user."""

    def with_changes(
        scan: Scan, counts: Any = None, positions: Any = None, contents: Any = None, **options: Any
    ) -> Scan:
        raw = RawScan(
            "scan.npz",
            "counts",
            scan.counts.astype(np.uint32) if counts is None else np.asarray(counts),
            "positions",
            np.array(scan.positions_px if positions is None else positions),
        )
        raw.position_order, raw.position_unit, raw.probe = "yx", "px", scan.probe
        for name, value in (contents or {}).items():
            setattr(raw, name, value)
        return interpret(raw, ReadOptions(**options))

    return with_changes


@pytest.fixture(scope="session")
def ids() -> Callable[[Scan], list[str]]:
    """Ids of the findings that are more than notes."""
    return lambda scan: [item.id for item in scan.findings if item.severity != "note"]


@pytest.fixture(scope="session")
def finding(ids: Callable[[Scan], list[str]]) -> Callable[[Scan, str], Finding]:
    """The finding of an id; the scan has no other that is more than a note."""

    def only(scan: Scan, id: str) -> Finding:
        assert ids(scan) == [id]
        return next(item for item in scan.findings if item.id == id)

    return only
