"""Whether the physics alone improves on what a trained network found, and how much of it: frames held out decide."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish, polish_rule
from ptycho_cli.calibration.auto_rules import POLISH_CHOICES
from ptycho_cli.calibration.scan_canvas import central_frames, scan_frames
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.inference_run import held_out
from ptycho_cli.inference.reconstruct import mean_deviance, probe_for, run_network
from ptycho_cli.physics.polish import polish_object

CHOICE_FRAMES = 256  # around the middle of a scan; what is best there holds for all
# Frames hardly tell what polish does for slow phases, so it may explain them worse by this share: on the star at
# 1e6 photons 6 dB come with 0.3 % more deviance; where it fits noise or a model at fault, deviance grows by 2 %.
MAX_DEVIANCE_RATIO = 1.01


def choose_polish(objective: Objective, config: Config, scan: Scan) -> Polish:
    """What ``auto`` becomes for a run: the iterations after which frames that are left out have the lowest deviance.

    None if it is higher there than without. Frames are not asked where the number is given, or none without a look,
    or where training held out none.

    Args:
        objective: Trained network and probe.
        config: Settings of the run.
        scan: Its first training scan.
    """
    rule = polish_rule(objective, config, scan)
    longest = rule.choose()
    left, unseen = held_out(config, scan, 0)
    if not longest.auto or not longest.iterations or not unseen:
        return longest
    pairs, seed = objective.probe_pairs, config.training.seed
    update = update_for(config.physics, scan)
    probe = probe_for(objective, scan, own=False)
    exposure = scan_frames(scan, dtype=pairs.dtype, device=pairs.device)
    judges, frames = (
        exposure.select(torch.from_numpy(chosen).to(pairs.device)) for chosen in held_out_and_others(scan, left)
    )
    alone = run_network(objective.network, frames, probe, seed=seed)
    allowed = MAX_DEVIANCE_RATIO * mean_deviance(judges, alone, probe)
    best = 0
    for iterations in POLISH_CHOICES:
        obj = polish_object(frames, alone, probe, update=update, iterations=iterations, seed=seed)
        deviance = mean_deviance(judges, obj, probe)
        if deviance >= allowed:
            break
        best, allowed = iterations, deviance
        if iterations >= longest.iterations:
            break
    return rule.choose(best)


def held_out_and_others(scan: Scan, left: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames around the middle of a scan, or all where none of those is held out: the held-out ones, and the others."""
    frames = central_frames(scan, np.arange(scan.n_frames), CHOICE_FRAMES)
    if not np.isin(frames, left).any():
        frames = np.arange(scan.n_frames)
    return np.intersect1d(frames, left), np.setdiff1d(frames, left)
