"""Refined positions of scans, before training: which scans, with which probe, and what is told about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.exposure import frame_photons
from ptycho_cli.calibration.position_search import refine_positions
from ptycho_cli.calibration.probe_refinement import WarmProbe, plain_probe, warm_probe
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.probe import scale_probe

Progress = Callable[[int, int], None]


def moved(scan: Scan, positions_px: NDArray[np.float64]) -> Scan:
    """The scan at other positions; those that it was stored with are kept beside them."""
    return replace(scan, positions_px=positions_px, stored_positions_px=scan.positions_px)


Scans = tuple[Scan, ...]


@dataclass(frozen=True)
class PositionSearch:
    """How positions of scans are refined before training; the fields are arguments of ``refine_positions``."""

    alpha: float
    most_px: float
    seed: int
    dtype: torch.dtype
    progress: Progress | None = None
    modes: int | None = None

    def settle(
        self,
        scans: Scans,
        validation: Scans,
        warm: WarmProbe,
        held_out: NDArray[np.int64],
        again: int | str | None,
        known: Sequence[Tensor] = (),
    ) -> tuple[Scans, Scans, WarmProbe, list[str]]:
        """Scans at refined positions, the probe for them, and what to tell.

        Args:
            scans: Training scans; the probe is that of the first.
            validation: Validation scans.
            warm: Its probe at the stored positions. Positions are found with the file's where that explains anything.
            held_out: As for ``warm_probe``.
            again: Iterations of the probe's refinement at the refined positions; None to leave the probe as it is.
            known: Positions of all scans that were refined before; nothing is searched where they are given.
        """
        if known:
            placed = [
                moved(scan, at.double().cpu().numpy()) for scan, at in zip((*scans, *validation), known, strict=True)
            ]
            return tuple(placed[: len(scans)]), tuple(placed[len(scans) :]), warm, []
        probes = [plain_probe(scans[0], self.dtype)] if scans[0].probe is not None and again is not None else []
        if not warm.given_explains:  # at wrong positions a right probe explains little
            probes.append(warm.probe)
        for probe in probes:
            placed, notes = self._placed((*scans, *validation), probe)
            if again is None:
                break
            first = replace(placed[0], probe=probe.cpu().numpy())
            warm = warm_probe(
                first, held_out, again, alpha=self.alpha, seed=self.seed, dtype=self.dtype, modes=self.modes
            )  # fmt: skip
            if warm.given_explains:
                break
        if again is not None:
            notes.append(warm.told_after("At the refined positions"))
        return tuple(placed[: len(scans)]), tuple(placed[len(scans) :]), warm, notes

    def _placed(self, scans: Scans, probe: Tensor) -> tuple[list[Scan], list[str]]:
        """Scans where their frames are found with a probe, scaled to the photons of each, and how far that is."""
        placed, notes = [], []
        for scan in scans:
            own = scale_probe(probe, frame_photons(scan))
            found = refine_positions(
                scan, own, alpha=self.alpha, most_px=self.most_px, seed=self.seed, progress=self.progress
            )
            length = np.linalg.norm(found - scan.positions_px, axis=1)
            rms = float(np.sqrt(np.mean(length**2)))
            notes.append(f"{scan.source}: positions moved by {rms:.3g} px rms, at most {length.max():.3g} px.")
            placed.append(moved(scan, found))
        return placed, notes
