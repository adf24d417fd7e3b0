"""How long the physics alone goes on after the network: as the settings say, or as network, photons and frames ask."""

from __future__ import annotations

from dataclasses import dataclass

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.scans import FEW_PHOTONS
from ptycho_cli.config.schema import Config
from ptycho_cli.data.dose import typical_rate
from ptycho_cli.data.scan import Scan

KEY = "inference.polish"
CHOICES = (8, 16, 32)
_WORSE = "the training found that frames held out are explained worse with it, or that photons are too few"
FRAMES = 8192  # that all iterations go through together at most, counted once a mode


@dataclass(frozen=True)
class Polish:
    """A number of iterations, and for people why, where the settings left it open."""

    iterations: int
    note: str | None = None

    @property
    def auto(self) -> dict[str, int]:
        """What replaced ``auto``, by key."""
        return {} if self.note is None else {KEY: self.iterations}


def polish_for(objective: Objective, config: Config, scan: Scan, judged: int | None = None) -> Polish:
    """Iterations of the physics alone for a scan.

    ``auto`` makes none after a network that does not ask for them, nor below 150 photons in a bright pixel, where they
    would fit noise; else as many as frames that the run held out judged best, or 32 where none were held out, and
    as few as 8 where frames or modes are many and each iteration takes long.

    Args:
        objective: Network and probe.
        config: The settings.
        scan: The scan.
        judged: What the run decided for its own scan, by ``inference.polish.decided``.
    """
    if config.inference.polish != "auto":
        return Polish(config.inference.polish)
    name, rate = config.model.name, typical_rate(scan)
    if not getattr(objective.network, "polish_by_default", False):
        return Polish(0, f"No polish (inference.polish): the network {name} does not ask for it.")
    if rate < FEW_PHOTONS:
        return Polish(0, f"No polish (inference.polish): with {rate:.2g} photons in a bright pixel it would fit noise.")
    if judged == 0:
        return Polish(0, f"No polish (inference.polish): {_WORSE}.")
    most = max(FRAMES // (scan.n_frames * len(objective.probe_pairs)), CHOICES[0])
    iterations = min(most, CHOICES[-1] if judged is None else judged)
    return Polish(
        iterations,
        f"Polished by {iterations} iterations of the physics alone (inference.polish): {rate:.3g} photons in a bright "
        f"pixel, {scan.n_frames} frames; --polish 0 leaves what the network {name} found.",
    )
