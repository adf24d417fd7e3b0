"""Refinement of a probe on a trial fit: a given number of iterations, or rounds as long as test frames improve."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ptycho_cli.calibration.raster_artefact import remove_raster_artefact
from ptycho_cli.calibration.trial_fit import TrialFit

ROUND_ITERATIONS = 10  # iterations between two looks at the test frames
MAX_ROUNDS = 4
# A round that leaves more than this share of the deviance before it is the last.
MAX_ROUND_RATIO = 0.95
# Removing the raster artefact must not raise the deviance of test frames above this share of it before.
MAX_RASTER_RATIO = 1.02


@dataclass(frozen=True, eq=False, slots=True)
class RefinedProbe:
    """A probe, and how well it explains the test frames.

    Attributes:
        probe: Complex ``(mode, y, x)``, scaled to the photons of the scan.
        iterations: Iterations that refined it; 0 where it is unchanged.
        note: What was done and why, in one or more sentences; empty where there is nothing to report.
        deviance: Mean deviance of the test frames, nats per pixel.
        noise_deviance: What photon noise alone would leave of it.
        file_probe_explains: Whether the file's probe, unchanged, explains frames better than their mean does.
        unrefined_deviance: Mean deviance with the file's probe, unchanged; 0 where that was not measured.
    """

    probe: Tensor
    iterations: int
    note: str
    deviance: float = float("inf")
    noise_deviance: float = float("inf")
    file_probe_explains: bool = False
    unrefined_deviance: float = 0.0

    def note_after(self, condition: str) -> str:
        """The note under a condition: ``At the refined positions: the file's probe was ...``."""
        return f"{condition}: {self.note[0].lower()}{self.note[1:]}"


def refine_by(trial: TrialFit, probe: Tensor, name: str, iterations: int) -> RefinedProbe:
    """Refine a probe in a given number of iterations.

    Args:
        trial: Frames to refine it on.
        probe: The probe, complex ``(mode, y, x)``.
        name: What to call it at the beginning of the note.
        iterations: Number of iterations.
    """
    trial.max_iterations = iterations
    obj, probe = trial.refine(trial.vacuum(), probe, iterations)
    note = f"{name} was refined in {iterations} iterations; held-out deviance {trial.deviance(obj, probe):.3g}."
    probe, raster_note = _without_raster_artefact(trial, obj, probe)
    return RefinedProbe(probe, iterations, note + raster_note)


def refine_while_better(
    trial: TrialFit, probe: Tensor, name: str, *, max_rounds: int, before: float = float("inf"),
    round_iterations: int = ROUND_ITERATIONS, max_round_ratio: float = MAX_ROUND_RATIO,
) -> RefinedProbe:  # fmt: skip
    """Refine a probe in rounds as long as each lowers the deviance of the test frames.

    Args:
        trial: Frames to refine it on and to judge it by.
        probe: The probe, complex ``(mode, y, x)``.
        name: What to call it at the beginning of the note.
        max_rounds: The most rounds.
        before: Deviance that the first round must come below, after one round of the object alone.
        round_iterations: Iterations of a round.
        max_round_ratio: A round that leaves more than this share of the deviance before it is the last.

    Returns:
        The probe with the lowest deviance; unchanged where the first round does not lower it.
    """
    # the object of ``before`` was iterated so long, which the seeds and the progress count
    first = ROUND_ITERATIONS * (before < float("inf"))
    trial.max_iterations = first + round_iterations * max_rounds
    obj = best_obj = trial.vacuum()
    best, refined, done, reached = probe, probe, 0, before
    for _ in range(max_rounds):
        obj, refined = trial.refine(obj, best, round_iterations, done=done + first)
        deviance = trial.deviance(obj, refined)
        if not deviance < reached:
            break
        last = not deviance < max_round_ratio * reached
        reached, best, best_obj, done = deviance, refined, obj, done + round_iterations
        if last:
            break
    noise = trial.noise_deviance(obj, refined)
    if done == 0:
        note = f"{name} explains held-out frames without refinement (deviance {reached:.3g})."
        return RefinedProbe(probe, 0, note, reached, noise)
    compared = f", {before:.3g} before" if first else ""
    note = f"{name} was refined in {done} iterations; held-out deviance {reached:.3g}{compared}."
    best, raster_note = _without_raster_artefact(trial, best_obj, best)
    return RefinedProbe(best, done, note + raster_note, reached, noise)


def _without_raster_artefact(trial: TrialFit, obj: Tensor, probe: Tensor) -> tuple[Tensor, str]:
    """The probe after its exchange of a raster pattern with the object is undone, and a sentence about it."""
    split = remove_raster_artefact(trial.fitted, obj, probe)
    if split is None:
        return probe, ""
    if trial.deviance(*split[:2]) > MAX_RASTER_RATIO * trial.deviance(obj, probe):
        return (
            probe,
            " The probe keeps what repeats with the raster: without it, held-out frames are explained worse.",
        )
    size = f"{100 * split[2]:.2g} % (rms)"
    return split[1], f" A pattern of {size} that repeats with the raster was moved between object and probe."
