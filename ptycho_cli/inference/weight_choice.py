"""The weights of a run at low dose: the trained ones, or some that lie nearer to those that training started from.

At low dose training fits the noise of slow phases, which the counts hardly determine and the first weights know from
many objects. Weights between the two keep most of both (Wortsman et al., CVPR 2022, doi 10.1109/CVPR52688.2022.00780).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptycho_cli.assembly.network_weights import NetworkWeights
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish
from ptycho_cli.config.schema import Config
from ptycho_cli.data.frame_statistics import photons_of
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out_trial import HeldOutTrial
from ptycho_cli.inference.polish_choice import exceeds_error
from ptycho_cli.networks.contract import Network

# Photons of a scan for which half of the change by training is kept; docs/lab/low_dose.md has the scans behind it.
HALF_KEPT_PHOTONS = 2e5
NEARLY_ALL = 0.95  # a larger share is all of it


def interpolate(network: nn.Module, start: NetworkWeights, share: float) -> None:
    """Give a trained network weights between those of the start, at 0, and its own, at 1.

    Args:
        network: The trained network.
        start: Weights that its training started from.
        share: From 0 to 1.
    """
    assert isinstance(network, Network)
    trained = network.transferable_state()
    network.load_transferable_state(
        {name: _between(start.tensors[name], value, share) for name, value in trained.items()}
    )


def share_to_keep(photons: float) -> float:
    """Share of the change by training to keep for a scan, by all photons that it counted: the more, the more."""
    share = round(photons / (photons + HALF_KEPT_PHOTONS), 2)
    return 1.0 if share > NEARLY_ALL else share


def choose_weights(objective: Objective, config: Config, scan: Scan, start: NetworkWeights) -> float:
    """Keep the trained weights, or interpolate if held-out frames are explained as well, within their standard error.

    Args:
        objective: Trained network, which gets the weights, and probe.
        config: Settings of the run.
        scan: Its first training scan.
        start: Weights that its training started from.

    Returns:
        The share of the change by training that is kept.
    """
    network, trial = objective.network, HeldOutTrial(objective, config, scan, 0)
    share = share_to_keep(float(photons_of(scan.counts).sum()))
    assert isinstance(network, Network)
    if share == 1 or not trial.unseen or len(before := trial.frame_deviances(Polish(0))) < 2:
        return 1.0
    trained = {name: value.clone() for name, value in network.transferable_state().items()}
    interpolate(network, start, share)
    added = HeldOutTrial(objective, config, scan, 0).frame_deviances(Polish(0)) - before
    if not exceeds_error(added):
        return share
    network.load_transferable_state(trained)
    return 1.0


def _between(start: Tensor, trained: Tensor, share: float) -> Tensor:
    return torch.lerp(start.to(trained), trained, share) if trained.is_floating_point() else trained.clone()
