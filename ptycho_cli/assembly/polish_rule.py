"""The number of polish iterations, physics alone after the network: as set, or by network, photons and frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.auto_rules import LOW_DOSE_PHOTONS, auto_polish
from ptycho_cli.config.schema import Config
from ptycho_cli.data.dose import typical_rate
from ptycho_cli.data.scan import Scan

KEY = "inference.polish"


@dataclass(frozen=True)
class Polish:
    """A number of iterations, and a note on the reason where the setting is ``auto``."""

    iterations: int
    note: str | None = None

    @property
    def auto(self) -> dict[str, int]:
        """The value that replaced ``auto``, by key, as ``run.json`` records it; empty where a number was set."""
        return {} if self.note is None else {KEY: self.iterations}


def recorded_polish(record: Mapping[str, Any]) -> int | None:
    """Iterations that a run chose for its own scan, from its ``run.json``; None where the number was set."""
    iterations: int | None = record.get("auto", {}).get(KEY)
    return iterations


@dataclass(frozen=True)
class PolishRule:
    """Choice of the iterations of polish for one scan.

    Attributes:
        iterations: The number that is set; None for ``auto``.
        network: Name of the network.
        by_default: Whether ``auto`` polishes what this network finds.
        photons: Photons in a bright pixel; not needed, and NaN, where the number is set.
        n_frames: Number of frames of the scan.
        modes: Number of probe modes.
    """

    iterations: int | None
    network: str
    by_default: bool
    photons: float
    n_frames: int
    modes: int

    def choose(self, best: int | None = None) -> Polish:
        """Choose the number of iterations.

        ``auto`` chooses none after a network that is not polished by default, and none below 150 photons in a bright
        pixel, where polish would fit noise; otherwise the number that held-out frames judged best, or 32 where none
        were held out, and as few as 8 where frames or modes are many and each iteration takes long.

        Args:
            best: Iterations that the run chose for its own scan; None where it did not choose.
        """
        if self.iterations is not None:
            return Polish(self.iterations)
        if not self.by_default:
            return Polish(0, f"No polish (inference.polish): auto makes none after the network {self.network}.")
        if self.photons < LOW_DOSE_PHOTONS:
            dose = f"with {self.photons:.2g} photons in a bright pixel it would fit noise"
            return Polish(0, f"No polish (inference.polish): {dose}.")
        if best == 0:
            reason = "in training, held-out frames were explained worse with it, or photons were too few"
            return Polish(0, f"No polish (inference.polish): {reason}.")
        iterations = auto_polish(self.n_frames, self.modes, best)
        return Polish(
            iterations,
            f"Polished by {iterations} iterations of the physics alone (inference.polish): {self.photons:.3g} photons"
            f" in a bright pixel, {self.n_frames} frames; inference.polish=0 keeps the result of {self.network}.",
        )


def polish_rule(objective: Objective, config: Config, scan: Scan) -> PolishRule:
    """The rule for a scan.

    Args:
        objective: Network and probe.
        config: The settings.
        scan: The scan.
    """
    setting = None if config.inference.polish == "auto" else config.inference.polish
    return PolishRule(
        iterations=setting,
        network=config.model.name,
        by_default=getattr(objective.network, "polish_by_default", False),
        photons=typical_rate(scan) if setting is None else float("nan"),
        n_frames=scan.n_frames,
        modes=len(objective.probe_pairs),
    )
