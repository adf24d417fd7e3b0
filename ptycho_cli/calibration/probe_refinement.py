"""The probe that training starts from: the file's, or one made from the mean pattern, refined by physics alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.initial_probe import file_probe, mode_count, probe_from_pattern
from ptycho_cli.calibration.mode_choice import choose_modes, note_on_modes
from ptycho_cli.calibration.probe_rounds import (
    MAX_ROUNDS,
    ROUND_ITERATIONS,
    RefinedProbe,
    refine_by,
    refine_while_better,
)
from ptycho_cli.calibration.scan_canvas import central_frames
from ptycho_cli.calibration.trial_fit import TrialFit
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.modes import with_modes
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.progress_callback import Progress

MAX_FRAMES = 512  # around the middle of a scan; a probe needs no more
DEFOCUS_FRAMES = 96  # to distinguish defoci
MAX_ROUNDS_NEW = 8  # of refinement for modes or probes that are made anew
# A file's probe is useful if it lowers the deviance of test frames to this share of that of their mean pattern; a
# probe made from the pattern replaces it if it lowers the deviance to this share of that with the file's probe.
MAX_USEFUL_RATIO = 0.5
# Added modes are kept as refined if they lower the deviance of test frames to this share; otherwise they fit noise,
# and begin with this share of the light: little to do harm, enough to be trained.
MAX_ADDED_MODES_RATIO = 0.98
WEAK_MODES_SHARE = 1e-3


def refine_probe(
    scan: Scan,
    held_out: NDArray[np.int64],
    iterations: int | Literal["auto"],
    *,
    update: ObjectUpdate,
    seed: int,
    dtype: torch.dtype,
    modes: int | None = None,
    geometry_is_wrong: Callable[[Tensor], bool] | None = None,
    progress: Progress | None = None,
) -> RefinedProbe:
    """Refine the probe of a scan by physics alone, where that explains frames left out of the refinement.

    Where the file has no probe, or one that explains hardly more than the mean of all frames does, probes are made
    from the mean pattern for a row of defoci, and the one is taken that explains test frames best.

    Modes that are added are refined with the others; ``auto`` compares the outcome with the file's probe without them.
    Where no number of modes is asked for and one mode leaves more unexplained than photon noise, ``auto`` also tries
    three, and keeps them where they explain test frames much better; not where another geometry explains the frames.

    Args:
        scan: The scan.
        held_out: Frames that training must not see; they are not used here either.
        iterations: Iterations of refinement, or ``auto``: rounds of ten as long as the deviance of the test frames
            falls, and none where the probe as given explains them better.
        update: Regularised update of the network's physics; the PIE here uses four times its regularisation.
        seed: Seed of the choice of test frames and of the subsets.
        dtype: Type of real numbers.
        modes: Number of modes; None for as many as the file's probe has, or three instead of one where that helps.
        geometry_is_wrong: Called with a probe before more modes than one are tried: whether another geometry explains
            the frames much better.
        progress: Called with (iterations done, iterations at most).
    """
    count, given = mode_count(scan, modes), file_probe(scan, dtype)
    if given is not None and iterations == 0:
        note = note_on_modes(f"{scan.probe_name} is used as it is.", given, count)
        return RefinedProbe(with_modes(given, count), 0, note, file_probe_explains=True)
    frames = np.setdiff1d(np.arange(scan.n_frames), held_out)
    central = central_frames(scan, frames, MAX_FRAMES)
    trial = TrialFit(scan, central, update=update, seed=seed, dtype=dtype, progress=progress)

    def made_anew() -> tuple[Tensor, str]:
        few = central_frames(scan, frames, DEFOCUS_FRAMES)
        return probe_from_pattern(scan, TrialFit(scan, few, update=update, seed=seed, dtype=dtype), dtype, count)

    if iterations != "auto":
        if given is None:
            return refine_by(trial, *made_anew(), iterations)
        found = refine_by(trial, with_modes(given, count), scan.probe_name, iterations)
        return replace(found, note=note_on_modes(found.note, given, count))
    if given is None:
        found = refine_while_better(trial, *made_anew(), max_rounds=MAX_ROUNDS_NEW)
    else:
        found = _refined_file_probe(trial, given, count, scan.probe_name)
        if not found.deviance < MAX_USEFUL_RATIO * trial.mean_pattern_deviance():
            other = refine_while_better(trial, *made_anew(), max_rounds=MAX_ROUNDS_NEW)
            found = other if other.deviance < MAX_USEFUL_RATIO * found.deviance else found
    return choose_modes(trial, found, geometry_is_wrong) if modes is None else found


def _refined_file_probe(trial: TrialFit, given: Tensor, count: int, name: str) -> RefinedProbe:
    """A scan's probe ``(mode, y, x)`` with ``count`` modes, refined where that explains test frames better."""
    start, added = with_modes(given, count), count > len(given)
    before = trial.deviance_of_probe(given if added else start, ROUND_ITERATIONS)
    if not added:
        found = refine_while_better(trial, start, name, max_rounds=MAX_ROUNDS, before=before)
    else:
        found = refine_while_better(trial, start, name, max_rounds=MAX_ROUNDS_NEW)
        # as many iterations for the file's own probe: an object that went on longer explains more by itself
        alone = trial.deviance_of_probe(given, found.iterations)
        if not found.deviance < MAX_ADDED_MODES_RATIO * alone:
            deviances = f"deviance {alone:.3g}, {found.deviance:.3g} refined"
            note = f"{name} explains held-out frames without refinement ({deviances})."
            found = RefinedProbe(with_modes(given, count, WEAK_MODES_SHARE), 0, note, alone)
    useful = MAX_USEFUL_RATIO * trial.mean_pattern_deviance()
    explains = found.deviance < useful and before < useful
    note = note_on_modes(found.note, given, count)
    return replace(found, note=note, file_probe_explains=explains, unrefined_deviance=before)
