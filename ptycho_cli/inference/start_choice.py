"""The choice between a network and physics alone for a scan that nothing was trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish, PolishRule, polish_rule
from ptycho_cli.calibration.held_out_frames import exceeds_error
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out_trial import HeldOutTrial
from ptycho_cli.inference.polish_choice import choose_iterations, choose_prior
from ptycho_cli.networks.contract import PhysicsInitialised


@dataclass(frozen=True, eq=False)
class Start:
    """How to reconstruct a scan, and how well that explains frames that were left out.

    Attributes:
        config: The settings; ``inference.untrained`` says which of the two it is.
        rule: What the settings and the scan say of the polish.
        polish: Iterations of physics after it.
        trial: The reconstruction without held-out frames.
        note: One line about the choice.
    """

    config: Config
    rule: PolishRule
    polish: Polish
    trial: HeldOutTrial
    note: str

    @property
    def deviance(self) -> float:
        """Mean deviance of the held-out frames, nats per valid pixel."""
        return self.trial.deviance(self.polish)

    def frame_deviances(self) -> NDArray[np.float64]:
        """Mean deviance of each held-out frame, nats per valid pixel, ``(frame,)``."""
        return self.trial.frame_deviances(self.polish)

    def with_prior(self) -> Start:
        """The same, with the prior in the polish that held-out frames choose."""
        return replace(self, polish=choose_prior(self.rule, self.polish, self.trial))


def choose_start(objective: Objective, config: Config, scan: Scan, *, weights: str | None) -> Start:
    """Choose the network, or the same stages by physics alone where that explains held-out frames better.

    For a network of low dose, which is never polished by default, better is what lowers their deviance by more than the
    standard error of the mean difference. Few frames of few photons hardly tell the two apart, and the network is then
    nearer to the truth (docs/lab/low_dose.md).

    Each with the polish that these frames choose. Priors in a polish are tried for the better one, and for both where
    there is no polish without a prior.

    Args:
        objective: Network and probe.
        config: The settings.
        scan: The scan, calibrated.
        weights: Name of the network's weights, for the note; None if it has none, and then physics reconstructs.
    """
    physics_only = _start(objective, config, scan, HeldOutTrial(objective, config, scan, 0), untrained=True)
    if config.inference.untrained or weights is None:
        return physics_only.with_prior()
    network = _start(objective, config, scan, physics_only.trial, untrained=False)
    physics_is_better = network.deviance > physics_only.deviance
    if physics_is_better and isinstance(objective.network, PhysicsInitialised):
        added = network.frame_deviances() - physics_only.frame_deviances()
        physics_is_better = exceeds_error(added) or len(added) == 1
    chosen, other = (physics_only, network) if physics_is_better else (network, physics_only)
    found = {network: weights, physics_only: "physics alone"}
    known = "" if chosen.deviance <= other.deviance else ", which is lower by less than its standard error"
    note = (
        f"Reconstructed with {found[chosen]}: it leaves a deviance of {chosen.deviance:.3g} in held-out frames,"
        f" {found[other]} {other.deviance:.3g}{known}."
    )
    return replace(chosen.with_prior(), note=note)


def _start(objective: Objective, config: Config, scan: Scan, trial: HeldOutTrial, *, untrained: bool) -> Start:
    inference = config.inference.model_copy(update={"untrained": untrained})
    config = config.model_copy(update={"inference": inference})
    rule, trial = polish_rule(objective, config, scan), trial.again(config)
    note = "Reconstructed by physics alone." if untrained else ""
    start = Start(config, rule, choose_iterations(rule, trial), trial, note)
    return start if start.polish.iterations else start.with_prior()
