"""The probe of another scan than a run was trained on: the run's, or the scan's own."""

from __future__ import annotations

import numpy as np

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.initial_probe import file_probe, probe_from_pattern
from ptycho_cli.calibration.probe_refinement import refine_probe
from ptycho_cli.calibration.scan_canvas import central_frames, frame_photons
from ptycho_cli.calibration.trial_fit import TrialFit
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.progress_callback import Progress

TRIAL_FRAMES, MIN_FRAMES = 128, 32  # around the middle of a scan; fewer leave too few to judge by
ITERATIONS = 10  # of the object with the run's probe, and of object and probe with one made anew
# A run's probe that leaves less than this many times the photon noise explains the scan.
EXPLAINS = 1.3
# Another probe is worth a message if it leaves this share of the deviance beyond photon noise.
MAX_RATIO = 0.5


def with_scan_probe(
    objective: Objective, config: Config, scan: Scan, progress: Progress | None = None
) -> tuple[Objective, str]:
    """Replace the run's probe by the scan's own: that of its file, or else one found by physics.

    Args:
        objective: Network and probe of a run.
        config: Its settings.
        scan: The scan.
        progress: Called with (iterations done, iterations at most) if a probe has to be found.

    Returns:
        The network with the scan's probe, and a note on a probe that was found; empty for that of the file.

    """
    run_probe = objective.probe.detach()
    dtype = run_probe.real.dtype
    own, note = file_probe(scan, dtype), ""
    if own is None:
        found = refine_probe(
            scan, np.empty(0, np.int64), "auto", update=update_for(config.physics, scan), seed=config.training.seed,
            dtype=dtype, modes=config.physics.probe_modes, progress=progress,
        )  # fmt: skip
        own, note = found.probe, found.note
    return objective.with_probe(own.to(run_probe), frame_photons(scan)), note


def probe_mismatch(objective: Objective, config: Config, scan: Scan) -> str | None:
    """One line if the run's probe explains frames of a scan much worse than the scan's own; None if not.

    The run's probe is tried on frames around the middle. Where it leaves more than photon noise, so is the file's
    probe, or one made from the mean pattern.

    Args:
        objective: Network and probe of a run.
        config: Its settings.
        scan: Another scan than it was trained on.

    Raises:
        CheckpointError: If the scan's frames are not of the size that the run was trained on.
    """
    probe = objective.probe_for(scan).cpu()
    if scan.n_frames < MIN_FRAMES:
        return None
    dtype = probe.real.dtype
    trial = TrialFit(
        scan, central_frames(scan, np.arange(scan.n_frames), TRIAL_FRAMES), update=update_for(config.physics, scan),
        seed=config.training.seed, dtype=dtype,
    )  # fmt: skip
    obj = trial.fit_object(probe, ITERATIONS)
    deviance, noise = trial.deviance(obj, probe), trial.noise_deviance(obj, probe)
    if deviance < EXPLAINS * noise:
        return None
    own = file_probe(scan, dtype)
    if own is not None:
        obj, name = trial.fit_object(own, ITERATIONS), "the file's probe"
    else:
        obj, own = trial.refine(trial.vacuum(), probe_from_pattern(scan, trial, dtype, len(probe))[0], ITERATIONS)
        name = "a probe found anew"
    better = trial.deviance(obj, own)
    least = min(noise, trial.noise_deviance(obj, own))
    if not better - least < MAX_RATIO * (deviance - least):
        return None
    return (
        f"The run's probe does not explain this scan: deviance {deviance:.3g} of frames left out, {better:.3g} with"
        f" {name}. Use --probe scan (inference.probe)."
    )
