"""What is found by physics alone before training: the probe, the beam's intensities and background, positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.intensity_background import WORTH, BeamSearch, beam_note
from ptycho_cli.calibration.position_refinement import PositionSearch, Scans
from ptycho_cli.calibration.probe_refinement import (
    WarmProbe,
    modes_wanted,
    plain_probe,
    refuse_idle_modes,
    warm_probe,
)
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.modes import with_modes

# Of the deviance without: what intensities and background must come below with the file's probe. It may be rough, and
# what they explain then may be its fault: 16 % rms lowered the deviance of the measured star by 2 % that way.
PLAIN_WORTH = 0.9

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Settled:
    """Scans with all that was found of them, the probe, and what to tell."""

    scans: Scans
    validation: Scans
    warm: WarmProbe
    notes: list[str]


@dataclass(frozen=True, eq=False)
class Before:
    """What there is to find and to start from.

    Attributes:
        config: The settings.
        alpha: Regularisation of the network.
        dtype: Type of real numbers.
        probe: A trained run's probe for the first scan, which is not refined; None where there is no such run.
        replaced: Modes of the probe in a checkpoint that will replace what is found, so that nothing is searched for; 0
            if there is none.
        positions: Refined positions of all scans, where a checkpoint has them.
        progress: Called with (steps done, at most).
    """

    config: Config
    alpha: float
    dtype: torch.dtype
    probe: Tensor | None = None
    replaced: int = 0
    positions: Sequence[Tensor] = ()
    progress: Progress | None = None

    def settle(self, scans: Scans, validation: Scans, held_out: NDArray[np.int64]) -> Settled:
        """Find it all. The probe is that of the first training scan; ``held_out`` are frames that it must not see."""
        physics, searched = self.config.physics, not self.replaced
        if physics.background != "auto":
            scans, validation = (
                tuple(replace(scan, background=physics.background) for scan in part) for part in (scans, validation)
            )
        warm = self._warm(scans[0], held_out)
        notes = [warm.note] if warm.note else []
        if searched and self.probe is None and warm.iterations:
            # the file's probe shows what the refined one may explain by faults that it has not
            probe, worth = warm.probe, WORTH
            if scans[0].probe is not None:
                probe, worth = plain_probe(scans[0], self.dtype), PLAIN_WORTH
            first = replace(beam_search(self.config, self.alpha, self.progress), worth=worth).find(scans[0], probe)
            if first.intensities is not None or first.background != scans[0].background:
                warm = self._warm(first, held_out)
                notes = [warm.told_after(f"{beam_note(first)} With that")]
        if searched:
            scans, validation = self._lit(scans, validation, warm.probe)
        if physics.refine_positions:
            seed, modes = self.config.training.seed, physics.probe_modes
            search = PositionSearch(self.alpha, physics.max_position_shift_px, seed, self.dtype, self.progress, modes)
            again = None if self.probe is not None or self.replaced else self.iterations
            scans, validation, warm, told = search.settle(scans, validation, warm, held_out, again, self.positions)
            notes += told
            if searched:
                scans, validation = self._lit(scans, validation, warm.probe)
        notes += [note for scan in (*scans, *validation) if (note := beam_note(scan)) is not None]
        return Settled(scans, validation, warm, notes)

    @property
    def iterations(self) -> int | str:
        """Of the probe's refinement, or ``auto``."""
        return self.config.physics.probe_warmup if self.config.physics.refine_probe else 0

    def _warm(self, scan: Scan, held_out: NDArray[np.int64]) -> WarmProbe:
        modes = self.config.physics.probe_modes
        if self.probe is not None:
            refuse_idle_modes(self.config, len(self.probe), 0)
            probe = with_modes(self.probe, modes or len(self.probe))
            more = len(probe) - len(self.probe)
            and_modes = "" if more == 0 else f" with {len(probe)} modes in place of {len(self.probe)}"
            return WarmProbe(probe, 0, f"Weights and probe start from the run{and_modes}.")
        if self.replaced:
            return WarmProbe(plain_probe(scan, self.dtype, self.replaced), 0, "")
        refuse_idle_modes(self.config, modes_wanted(scan, None), self.iterations)
        return warm_probe(
            scan, held_out, self.iterations,
            alpha=self.alpha, seed=self.config.training.seed, dtype=self.dtype, modes=modes, progress=self.progress,
        )  # fmt: skip

    def _lit(self, scans: Scans, validation: Scans, probe: Tensor) -> tuple[Scans, Scans]:
        search = beam_search(self.config, self.alpha, self.progress)
        found = tuple(search.find(scan, probe) for scan in (*scans, *validation))
        return found[: len(scans)], found[len(scans) :]


def beam_search(config: Config, alpha: float, progress: Progress | None = None) -> BeamSearch:
    """How the settings want intensities and background to be found."""
    physics = config.physics
    return BeamSearch(alpha, physics.refine_intensity, physics.background, config.training.seed, progress)
