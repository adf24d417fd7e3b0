"""The choice between one probe mode and several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from ptycho_cli.calibration.probe_rounds import MAX_ROUNDS, ROUND_ITERATIONS, RefinedProbe, refine_while_better
from ptycho_cli.calibration.trial_fit import TrialFit
from ptycho_cli.physics.modes import with_modes

# A single mode that leaves this many times the deviance of photon noise is compared with several.
MIN_NOISE_RATIO = 1.5
SEVERAL_MODES, SEVERAL_SHARE = 3, 0.1  # their number, and the light that all but the first begin with
# Several modes must lower the deviance of test frames to this share of it with one.
MAX_SEVERAL_RATIO = 0.9
CONVERGED_ITERATIONS = 40  # after which the object hardly changes
# Modes converge slowly, so their rounds are twice as long and may gain less.
SEVERAL_ROUND_ITERATIONS, SEVERAL_ROUND_RATIO = 2 * ROUND_ITERATIONS, 0.98


def choose_modes(
    trial: TrialFit, found: RefinedProbe, geometry_is_wrong: Callable[[Tensor], bool] | None = None
) -> RefinedProbe:
    """Replace a single mode that leaves much unexplained by three, where they explain test frames much better.

    Args:
        trial: Frames to refine the modes on and to judge them by.
        found: The probe so far; returned unchanged where it has several modes.
        geometry_is_wrong: Called with the probe before modes are tried; where it returns True, none are.
    """
    if len(found.probe) > 1 or found.deviance < MIN_NOISE_RATIO * found.noise_deviance:
        return found
    # an object that has not converged leaves much unexplained as well, and explains more by itself as it goes on
    obj = trial.fit_object(found.probe, CONVERGED_ITERATIONS)
    converged = trial.deviance(obj, found.probe)
    if converged < MIN_NOISE_RATIO * trial.noise_deviance(obj, found.probe):
        return found
    if geometry_is_wrong is not None and geometry_is_wrong(found.probe):
        return replace(
            found, note=f"{found.note} No more modes are tried, because another geometry explains the frames."
        )
    several = refine_while_better(
        trial, with_modes(found.probe, SEVERAL_MODES, SEVERAL_SHARE), "",
        max_rounds=MAX_ROUNDS, before=MAX_SEVERAL_RATIO * min(converged, found.deviance),
        round_iterations=SEVERAL_ROUND_ITERATIONS, max_round_ratio=SEVERAL_ROUND_RATIO,
    )  # fmt: skip
    if several.iterations == 0:
        return found
    note = (
        f"{found.note} {SEVERAL_MODES} modes, refined in {several.iterations} more iterations, explain held-out frames"
        f" better (deviance {several.deviance:.3g}); physics.probe_modes=1 keeps one."
    )
    return replace(several, iterations=found.iterations + several.iterations, note=note)


def note_on_modes(note: str, given: Tensor, count: int) -> str:
    """A note on the file's probe ``(mode, y, x)``, and how many of its modes were added or kept."""
    added = count - len(given)
    if added == 0:
        return note
    return f"{note} {added} modes were added." if added > 0 else f"{note} {count} of its {len(given)} modes are kept."
