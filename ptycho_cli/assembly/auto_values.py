"""Values that the setting ``auto`` stands for, for a scan."""

from __future__ import annotations

from ptycho_cli.calibration.auto_rules import auto_alpha, auto_withheld
from ptycho_cli.calibration.probe_rounds import RefinedProbe
from ptycho_cli.config.schema import LossSettings, PhysicsSettings
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.object_update import ObjectUpdate


def object_update(physics: PhysicsSettings, alpha: float) -> ObjectUpdate:
    """The regularised update of an object with the priors that the settings choose, for every engine and network.

    Trials of other geometries use an update without priors, because they compare geometries and show no object.
    """
    return ObjectUpdate(alpha)


def update_for(physics: PhysicsSettings, scan: Scan) -> ObjectUpdate:
    """The regularised update of the network's physics for a scan, from ``physics.alpha``."""
    return object_update(physics, auto_alpha(scan) if physics.alpha == "auto" else physics.alpha)


def withheld_for(loss: LossSettings, scan: Scan, *, at_any_dose: bool) -> float:
    """Share of the photons that the network does not see: ``loss.withheld``.

    Args:
        loss: The settings.
        scan: The first training scan.
        at_any_dose: Whether ``auto`` also withholds photons where they are many.
    """
    return auto_withheld(scan, at_any_dose=at_any_dose) if loss.withheld == "auto" else loss.withheld


def trains_probe(
    physics: PhysicsSettings, scan: Scan, found: RefinedProbe | None, *, withheld: float, resumed: bool | None
) -> bool:
    """Whether the probe is trained with the network: ``physics.refine_probe``.

    At few photons, gradients of a probe are noisy, and an object pays for the errors of its probe. So ``auto`` keeps
    a file's probe there if refinement by physics alone, judged by held-out frames, did not improve it.

    Args:
        physics: The settings.
        scan: The first training scan.
        found: Its probe before training; None where that is a trained run's.
        withheld: Share of the photons that the network does not see; 0 where they are many.
        resumed: Whether the training that is continued trains it; None where there is none.
    """
    if physics.refine_probe != "auto":
        return physics.refine_probe
    if resumed is not None:
        return resumed
    if not withheld or physics.probe_warmup != "auto" or found is None or scan.probe is None:
        return True
    return found.iterations > 0 or len(found.probe) != len(scan.probe)
