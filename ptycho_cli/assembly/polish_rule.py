"""The polish, iterations of physics alone after the network: as set, or by network, photons, frames and prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.auto_rules import LOW_DOSE_PHOTONS, auto_polish
from ptycho_cli.config.schema import Config
from ptycho_cli.data.dose import typical_rate
from ptycho_cli.data.scan import Scan

KEY, TV_WEIGHT = "inference.polish", "inference.tv_weight"


@dataclass(frozen=True)
class Polish:
    """A number of iterations.

    Attributes:
        iterations: The number.
        note: The reason, where a setting is ``auto``.
        tv_weight: Weight of the prior, as in ``polish_object``.
        chosen: Keys of the settings whose ``auto`` these values replace.
    """

    iterations: int
    note: str | None = None
    tv_weight: float = 0.0
    chosen: tuple[str, ...] = ()

    @property
    def auto(self) -> dict[str, float]:
        """The values that replaced ``auto``, by key, as ``run.json`` records them; without a weight of 0."""
        values = {KEY: self.iterations} | ({TV_WEIGHT: self.tv_weight} if self.tv_weight else {})
        return {key: value for key, value in values.items() if key in self.chosen}


def recorded_polish(record: Mapping[str, Any]) -> tuple[int | None, float]:
    """Iterations that a run chose for its own scan, from its ``run.json``, and weight of the prior; else None and 0."""
    auto = record.get("auto", {})
    return auto.get(KEY), auto.get(TV_WEIGHT, 0.0)


@dataclass(frozen=True)
class PolishRule:
    """Choice of the iterations of polish for one scan.

    Attributes:
        iterations: The number that is set; None for ``auto``.
        tv_weight: The weight of the prior that is set; None for ``auto``.
        network: Name of the network.
        by_default: Whether ``auto`` polishes what this network finds.
        photons: Photons in a bright pixel; not needed, and NaN, where the number is set.
        n_frames: Number of frames of the scan.
        modes: Number of probe modes.
        probe_fits: False if another probe explains the scan much better.
    """

    iterations: int | None
    tv_weight: float | None
    network: str
    by_default: bool
    photons: float
    n_frames: int
    modes: int
    probe_fits: bool = True

    def choose(self, best: int | None = None, tv_weight: float = 0.0) -> Polish:
        """Choose the number of iterations and the weight of the prior.

        ``auto`` chooses no iterations with a probe that does not explain the scan, and without a prior none after
        a network that is not polished by default and none below 150 photons in a bright pixel, where polish would fit
        noise. Otherwise it chooses the number that held-out frames judged best, or 32 where none were held out, and as
        few as 8 where frames or modes are many and each iteration takes long.

        Args:
            best: Iterations that the run chose for its own scan; None where it did not choose.
            tv_weight: The weight of the prior that it chose.
        """
        tv_weight = tv_weight if self.tv_weight is None else self.tv_weight
        tv_weight = 0.0 if self.iterations == 0 else tv_weight
        prior = _note_on_prior(tv_weight) if self.tv_weight is None and tv_weight else None
        chosen = tuple(
            key for key, value in ((KEY, self.iterations), (TV_WEIGHT, self.tv_weight)) if value is None
        )  # fmt: skip
        if self.iterations is not None:
            return Polish(self.iterations, prior, tv_weight, chosen)
        if (not tv_weight or not self.probe_fits) and (reason := self._excluded()) is not None:
            return Polish(0, f"No polish (inference.polish): {reason}.", chosen=chosen)
        if best == 0:
            reason = "in training, held-out frames were explained worse with it, or photons were too few"
            return Polish(0, f"No polish (inference.polish): {reason}.", chosen=chosen)
        iterations = auto_polish(self.n_frames, self.modes, best)
        note = (
            f"Polished by {iterations} iterations of the physics alone (inference.polish): {self.photons:.3g} photons"
            f" in a bright pixel, {self.n_frames} frames; inference.polish=0 keeps the result of {self.network}."
        )
        return Polish(iterations, note if prior is None else f"{note} {prior}", tv_weight, chosen)

    def _excluded(self) -> str | None:
        """The reason why ``auto`` makes no polish, the first also with a prior; None if it does."""
        if not self.probe_fits:
            return "with a probe that does not explain the scan it would fit the errors of the probe"
        if not self.by_default:
            return f"auto makes none after the network {self.network}"
        if self.photons < LOW_DOSE_PHOTONS:
            return f"with {self.photons:.2g} photons in a bright pixel it would fit noise"
        return None


def _note_on_prior(tv_weight: float) -> str:
    return (
        f"Held-out frames are explained best with a total-variation prior of weight {tv_weight:g} in the polish "
        "(inference.tv_weight; 0 leaves it out)."
    )


def polish_rule(objective: Objective, config: Config, scan: Scan, *, probe_fits: bool = True) -> PolishRule:
    """The rule for a scan.

    Args:
        objective: Network and probe.
        config: The settings.
        scan: The scan.
        probe_fits: False if another probe explains the scan much better.
    """
    inference = config.inference
    setting = None if inference.polish == "auto" else inference.polish
    return PolishRule(
        iterations=setting,
        tv_weight=None if inference.tv_weight == "auto" else inference.tv_weight,
        network=config.model.name,
        by_default=getattr(objective.network, "polish_by_default", False),
        photons=typical_rate(scan) if setting is None else float("nan"),
        n_frames=scan.n_frames,
        modes=len(objective.probe_pairs),
        probe_fits=probe_fits,
    )
