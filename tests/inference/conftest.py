"""What tests of reconstruction share; each module has a ``scan`` of its own."""

from __future__ import annotations

import pytest
import torch

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.data.scan import Scan
from ptycho_cli.networks.unrolled import UnrolledNetwork
from ptycho_cli.physics.object_update import ObjectUpdate


@pytest.fixture(scope="module")
def objective(scan: Scan) -> Objective:
    """A network that says a little, with the probe of the module's scan."""
    torch.manual_seed(0)
    network = UnrolledNetwork(stages=6, subsets=3, width=4, update=ObjectUpdate(auto_alpha(scan)))
    torch.nn.init.normal_(network.blocks[0].layers[-1].weight, std=1e-3)  # type: ignore[index, union-attr, arg-type]
    assert scan.probe is not None
    return Objective(network, torch.from_numpy(scan.probe), torch.tensor([frame_photons(scan)]))
