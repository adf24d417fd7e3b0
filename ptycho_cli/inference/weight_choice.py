"""The weights of a run at low dose: the trained ones, or some that lie nearer to those that training started from.

At low dose training fits the noise of slow phases, which the counts hardly determine and the first weights know from
many objects. Weights between the two keep most of both (Wortsman et al., CVPR 2022, doi 10.1109/CVPR52688.2022.00780).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ptycho_cli.assembly.network_weights import NetworkWeights
from ptycho_cli.assembly.polish_rule import Polish
from ptycho_cli.calibration.held_out_frames import exceeds_error
from ptycho_cli.config.schema import Config
from ptycho_cli.data.frame_statistics import photons_of
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out_trial import HeldOutTrial
from ptycho_cli.networks.contract import Network

# Photons of a scan for which at least half of the change by training is kept; docs/lab/low_dose.md has the scans.
HALF_KEPT_PHOTONS = 2e6
CONFIDENCE = 0.9  # that a share explains held-out frames worse than another; one standard error has 0.81 with five
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


def least_share(photons: float) -> float:
    """Least share of the change by training to keep for a scan, by all photons that it counted."""
    share = round(photons / (photons + HALF_KEPT_PHOTONS), 2)
    return 1.0 if share > NEARLY_ALL else share


def choose_weights(
    trial: HeldOutTrial, network: nn.Module, config: Config, scan: Scan, start: NetworkWeights
) -> tuple[HeldOutTrial, float]:
    """Keep as little of the change by training as explains held-out frames, of three shares.

    A share is not taken where these frames are explained worse than with another, with a confidence of 90 %: few frames
    of few photons hardly show slow phases, which the weights of the start know.

    Args:
        trial: The reconstruction of the scan without held-out frames.
        network: The trained network, which gets the weights.
        config: Settings of the run.
        scan: Its first training scan.
        start: Weights that its training started from.

    Returns:
        The trial with the weights that are kept, and their share of the change.
    """
    assert isinstance(network, Network)
    least = least_share(float(photons_of(scan.counts).sum()))
    if least == 1 or not trial.unseen:
        return trial, 1.0
    trained = {name: value.clone() for name, value in network.transferable_state().items()}
    trials, deviances = {}, {}
    for share in (least, round((1 + least) / 2, 2), 1.0):
        network.load_transferable_state(trained)
        interpolate(network, start, share)
        trials[share] = trial = trial.again(config)
        deviances[share] = trial.frame_deviances(Polish(0))
    best = min(deviances.values(), key=np.mean)
    enough = (share for share, found in deviances.items() if not exceeds_error(found - best, CONFIDENCE))
    kept = next(enough) if len(best) > 1 else 1.0  # one frame does not show an error
    network.load_transferable_state(trained)
    interpolate(network, start, kept)
    return trials[kept], kept


def _between(start: Tensor, trained: Tensor, share: float) -> Tensor:
    return torch.lerp(start.to(trained), trained, share) if trained.is_floating_point() else trained.clone()
