"""A probe to start training from: the file's or one made from the mean pattern, refined by physics alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.exposure import ENGINE_ALPHA, around_the_middle, exposure_of, frame_photons
from ptycho_cli.calibration.raster_artefact import without_raster
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.likelihood import mean_deviance
from ptycho_cli.physics.modes import with_modes
from ptycho_cli.physics.pie import expected_rate, run_pie
from ptycho_cli.physics.probe import defocus_candidates, initial_probe, scale_probe
from ptycho_cli.progress_callback import Progress

ROUND = 10  # iterations between two looks at the frames left out
ROUNDS = 4
ROUNDS_UNKNOWN = 8  # of a probe that is made from the data
WARMUP_FRAMES = 512  # frames around the middle of a scan; a probe needs no more
SEARCH_FRAMES = 96  # to tell one defocus from another
SEARCH_ITERATIONS = 4
# A file's probe that explains frames left out hardly better than their mean does is no help: search beside it.
HOPELESS = 0.5
# Light of all added modes where refining them did not help: little to do harm, enough for training to begin with.
FAINT = 1e-3
WORTH = 0.98  # of the deviance without: added modes that explain no more than this fit noise
NO_WORSE = 1.02  # of the deviance, for what repeats with a raster: frames are to stay as they are
MOMENTUM = 0.8  # of an iteration's change, made once more before the next
# A single mode that leaves so many times the deviance of photon noise unexplained is tried beside several, and these
# are kept where they explain so much more.
UNEXPLAINED, WORTH_MORE = 1.5, 0.9
SETTLED = 40  # iterations after which an object hardly moves
SEVERAL, THEIR_SHARE = 3, 0.1  # modes, and the light that all but the first begin with
# Of the deviance before a round: what ends the refinement of one mode, and of several, which settle slowly.
ENOUGH, ENOUGH_MORE = 0.95, 0.98


@dataclass(frozen=True, eq=False, slots=True)
class WarmProbe:
    """A probe to start from. ``iterations`` refined it; ``note`` tells why, for people."""

    probe: Tensor
    iterations: int
    note: str
    deviance: float = float("inf")  # of frames left out
    noise: float = float("inf")  # what it would be if the frames were as expected, but for photon noise
    given_explains: bool = False  # the file's probe as it is explains frames better than their mean

    def told_after(self, words: str) -> str:
        """The note as what follows from something else: ``At the refined positions: the file's probe ...``."""
        return f"{words}: {self.note[0].lower()}{self.note[1:]}"


def warm_probe(
    scan: Scan,
    held_out: NDArray[np.int64],
    iterations: int | str,
    *,
    alpha: float,
    seed: int,
    dtype: torch.dtype,
    modes: int | None = None,
    progress: Progress | None = None,
) -> WarmProbe:
    """First probe of a scan, refined by physics alone where that explains frames it has not seen.

    Where the file has no probe, or one that explains hardly more than the mean of all frames does, probes are made
    from the mean pattern for a row of defoci, and the one is taken that explains frames left out best.

    Modes that are added are refined with the others; ``auto`` compares the outcome with the file's probe without them.
    Where no number of modes is asked for and one mode leaves more unexplained than photon noise, ``auto`` also tries
    three, and keeps them where frames left out are explained much better.

    Args:
        scan: The scan.
        held_out: Frames that training must not see; they are not looked at here either.
        iterations: Iterations of refinement, or ``auto``: rounds of ten as long as the deviance of frames
            left out here falls, and none where the probe as given explains them better.
        alpha: Regularisation of the network; the engine's follows from it.
        seed: Seed of the frames left out and of the subsets.
        dtype: Type of real numbers.
        modes: Modes to have; None for as many as the file's probe has, or more than its one where that helps.
        progress: Called with (iterations done, iterations at most).

    Returns:
        The probe, scaled to the photons of the scan, complex ``(mode, y, x)``.
    """
    complex_type = torch.complex128 if dtype == torch.float64 else torch.complex64
    count = modes_wanted(scan, modes)
    given = None
    if scan.probe is not None:
        given = scale_probe(torch.from_numpy(scan.probe).to(complex_type), frame_photons(scan))
        if iterations == 0:
            note = "The probe starts as the file has it."
            return WarmProbe(with_modes(given, count), 0, _told(note, given, count), given_explains=True)
    frames = np.setdiff1d(np.arange(scan.n_frames), held_out)
    trial = _Trial(scan, around_the_middle(scan, frames, WARMUP_FRAMES), ENGINE_ALPHA * alpha, seed, dtype, progress)
    few = _Trial(scan, around_the_middle(scan, frames, SEARCH_FRAMES), ENGINE_ALPHA * alpha, seed, dtype)
    free = modes is None and iterations == "auto"
    if given is None:
        found = trial.refined(*_made(scan, few, complex_type, count), iterations, ROUNDS_UNKNOWN)
        return trial.several(found) if free else found
    if iterations != "auto":
        found = trial.refined(with_modes(given, count), "The file's probe", iterations, 0)
        return replace(found, note=_told(found.note, given, count))
    start, more = with_modes(given, count), count > len(given)
    known = given if more else start
    before = trial.deviance(trial.run(trial.vacuum(), known, ROUND, 0.0, 0)[0], known)
    if more:
        found = trial.refined(start, "The file's probe", "auto", ROUNDS_UNKNOWN)
        # as many iterations for the file's own probe: an object that went on longer explains more by itself
        plain = trial.deviance(trial.run(trial.vacuum(), given, found.iterations, 0.0, 0)[0], given)
        if not found.deviance < WORTH * plain:
            note = f"The file's probe explains held-out frames as it is ({plain:.3g}, {found.deviance:.3g} refined)."
            found = WarmProbe(with_modes(given, count, FAINT), 0, note, plain)
    else:
        found = trial.refined(start, "The file's probe", "auto", ROUNDS, before)
    found = replace(found, note=_told(found.note, given, count))
    if found.deviance < HOPELESS * trial.of_the_mean():
        found = replace(found, given_explains=before < HOPELESS * trial.of_the_mean())
    else:
        other = trial.refined(*_made(scan, few, complex_type, count), "auto", ROUNDS_UNKNOWN)
        found = other if other.deviance < HOPELESS * found.deviance else found
    return trial.several(found) if free else found


def modes_wanted(scan: Scan, modes: int | None) -> int:
    """Modes of a scan's probe: what is asked for, else as many as the file has, else one."""
    return modes or (1 if scan.probe is None else len(scan.probe))


def plain_probe(scan: Scan, dtype: torch.dtype, modes: int | None = None) -> Tensor:
    """The file's probe, or one in focus, of so many modes: for a run whose own replaces it."""
    made = initial_probe(torch.from_numpy(scan.counts.mean(0))) if scan.probe is None else torch.from_numpy(scan.probe)
    made = made.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    return with_modes(scale_probe(made, frame_photons(scan)), modes_wanted(scan, modes))


def _told(note: str, given: Tensor, count: int) -> str:
    """A note, and what became of the modes of the file's probe."""
    more = count - len(given)
    return note if more == 0 else f"{note} Of its modes {f'{more} were added' if more > 0 else f'{count} are kept'}."


def _made(scan: Scan, few: _Trial, complex_type: torch.dtype, count: int) -> tuple[Tensor, str]:
    """The probe made from the mean pattern at the defocus that explains frames left out best, and what to call it."""
    pattern, photons = torch.from_numpy(scan.counts.mean(0, dtype=np.float64)), frame_photons(scan)
    best, least, chosen = None, float("inf"), 0.0
    for defocus in defocus_candidates(pattern):
        probe = scale_probe(initial_probe(pattern, defocus).to(complex_type), photons)
        deviance = few.deviance(few.run(few.vacuum(), probe, SEARCH_ITERATIONS, 0.0, 0)[0], probe)
        if best is None or deviance < least:
            best, least, chosen = probe, deviance, defocus
    assert best is not None
    return with_modes(best, count), f"A probe made from the mean pattern, defocus {chosen:.3g} object pixels squared,"


class _Trial:
    """Some frames to fit and some to judge by."""

    def __init__(
        self,
        scan: Scan,
        frames: NDArray[np.int64],
        alpha: float,
        seed: int,
        dtype: torch.dtype,
        progress: Progress | None = None,
    ) -> None:
        exposure = exposure_of(scan, frames, dtype=dtype)
        lots = torch.from_numpy(np.random.default_rng([seed, 3]).permutation(len(frames)))
        n_test = max(1, len(frames) // 20)
        self.test, self.rest = exposure.select(lots[:n_test]), exposure.select(lots[n_test:])
        self.alpha, self.seed, self.progress, self.limit = alpha, seed, progress, 0

    def vacuum(self) -> Tensor:
        """An object of ones."""
        return self.rest.vacuum()

    def run(self, obj: Tensor, probe: Tensor, count: int, step: float, done: int) -> tuple[Tensor, Tensor]:
        """Object and probe after ``count`` iterations more, ``done`` having been made."""
        tell = self.progress
        return run_pie(
            self.rest, obj, probe, iterations=count, alpha=self.alpha, probe_step=step, momentum=MOMENTUM,
            seed=self.seed + done,
            progress=None if tell is None else lambda i, _: tell(done + i, max(self.limit, done + count)),
        )  # fmt: skip

    def deviance(self, obj: Tensor, probe: Tensor) -> float:
        """Mean deviance of the frames left out."""
        return self._mean(expected_rate(self.test, obj, probe))

    def noise(self, obj: Tensor, probe: Tensor) -> float:
        """Mean deviance of counts that are drawn where the frames left out are expected: photon noise alone."""
        rate = expected_rate(self.test, obj, probe)
        if not torch.isfinite(rate).all():  # the refinement came to nothing
            return float("inf")
        drawn = torch.poisson(rate.cpu(), torch.Generator().manual_seed(self.seed)).to(rate)
        return self._mean(rate, drawn)

    def of_the_mean(self) -> float:
        """That of the trivial model: every frame is the mean of all."""
        return self._mean(self.rest.amplitude.square().mean(0).expand_as(self.test.amplitude))

    def _mean(self, rate: Tensor, counts: Tensor | None = None) -> float:
        return mean_deviance(self.test.amplitude.square() if counts is None else counts, rate, self.test.valid)

    def refined(
        self, probe: Tensor, name: str, iterations: int | str, rounds: int, before: float = float("inf"),
        *, length: int = ROUND, enough: float = ENOUGH,
    ) -> WarmProbe:  # fmt: skip
        """A probe after a number of iterations, or after as many rounds as lower the deviance below ``before``."""
        if iterations != "auto":
            self.limit = int(iterations)
            obj, probe = self.run(self.vacuum(), probe, self.limit, 1.0, 0)
            said = f"{name} was refined in {iterations} iterations; held-out deviance {self.deviance(obj, probe):.3g}."
            probe, more = self.off_the_raster(obj, probe)
            return WarmProbe(probe, self.limit, said + more)
        first = ROUND * (before < float("inf"))
        self.limit = first + length * rounds
        obj, best, refined, done, reached = self.vacuum(), probe, probe, 0, before
        best_obj = obj
        for _ in range(rounds):
            obj, refined = self.run(obj, best, length, 1.0, done + first)
            deviance = self.deviance(obj, refined)
            if not deviance < reached:
                break
            gained, reached, best, best_obj, done = deviance < enough * reached, deviance, refined, obj, done + length
            if not gained:
                break
        noise = self.noise(obj, refined)
        if done == 0:
            note = f"{name} explains held-out frames as it is (deviance {reached:.3g})."
            return WarmProbe(probe, 0, note, reached, noise)
        was = f", {before:.3g} before" if first else ""
        note = f"{name} was refined in {done} iterations; held-out deviance {reached:.3g}{was}."
        best, more = self.off_the_raster(best_obj, best)
        return WarmProbe(best, done, note + more, reached, noise)

    def off_the_raster(self, obj: Tensor, probe: Tensor) -> tuple[Tensor, str]:
        """The probe with what repeats with a regular raster where it belongs, and what to tell."""
        settled = without_raster(self.rest, obj, probe)
        if settled is None:
            return probe, ""
        if self.deviance(*settled[:2]) > NO_WORSE * self.deviance(obj, probe):
            return probe, " What repeats with the raster was left as it was: frames would be explained worse."
        moved = f"{100 * settled[2]:.2g} % (rms)"
        return settled[1], f" Of what repeats with the raster, {moved} were moved between object and probe."

    def several(self, found: WarmProbe) -> WarmProbe:
        """Several modes in place of one that leaves much unexplained, where they explain it."""
        if len(found.probe) > 1 or found.deviance < UNEXPLAINED * found.noise:
            return found
        # an object that has not settled leaves much unexplained as well, and explains more by itself as it goes on
        obj, _ = self.run(self.vacuum(), found.probe, SETTLED, 0.0, 0)
        alone = self.deviance(obj, found.probe)
        if alone < UNEXPLAINED * self.noise(obj, found.probe):
            return found
        start = with_modes(found.probe, SEVERAL, THEIR_SHARE)
        worth = WORTH_MORE * min(alone, found.deviance)
        more = self.refined(start, "", "auto", ROUNDS, worth, length=2 * ROUND, enough=ENOUGH_MORE)
        if more.iterations == 0:
            return found
        said = f"{found.note} {SEVERAL} modes, refined in {more.iterations} iterations more, explain them better"
        note = f"{said} ({more.deviance:.3g}); --probe-modes 1 keeps one."
        return replace(more, iterations=found.iterations + more.iterations, note=note)
