"""The choice of a run: after how many iterations of polish held-out frames are explained best."""

from __future__ import annotations

import torch

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish, polish_rule
from ptycho_cli.calibration.auto_rules import POLISH_CHOICES
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out import central_split, held_out_of
from ptycho_cli.inference.reconstruct import reconstruction_probe, run_network
from ptycho_cli.inference.results import deviance_of
from ptycho_cli.physics.polish import polish_object

# A polish is kept if the deviance of held-out frames stays below this share of that without: frames hardly show what
# it does for slow phases. On the star at 1e6 photons 6 dB come with 0.3 % more deviance; where it fits noise or
# errors of the model, the deviance grows by 2 %.
MAX_DEVIANCE_RATIO = 1.01


def choose_polish(objective: Objective, config: Config, scan: Scan) -> Polish:
    """Choose the iterations of polish after which held-out frames have the lowest deviance, or none.

    The number that is set is taken as it is. Where training held out no frames, or the rule excludes a polish, the
    rule decides alone.

    Args:
        objective: Trained network and probe.
        config: Settings of the run.
        scan: Its first training scan.
    """
    rule = polish_rule(objective, config, scan)
    longest = rule.choose()
    held_out, unseen = held_out_of(config, scan, 0)
    if not longest.auto or not longest.iterations or not unseen:
        return longest
    pairs, seed, update = objective.probe_pairs, config.training.seed, update_for(config.physics, scan)
    probe = reconstruction_probe(objective, scan)
    everything = scan_frames(scan, dtype=pairs.dtype, device=pairs.device)
    test, frames = (
        everything.select(torch.from_numpy(numbers).to(pairs.device)) for numbers in central_split(scan, held_out)
    )
    unpolished = run_network(objective.network, frames, probe, seed=seed)
    lowest = MAX_DEVIANCE_RATIO * deviance_of(test, unpolished, probe)
    best = 0
    for iterations in POLISH_CHOICES:
        obj = polish_object(frames, unpolished, probe, update=update, iterations=iterations, seed=seed)
        deviance = deviance_of(test, obj, probe)
        if deviance >= lowest:
            break
        best, lowest = iterations, deviance
        if iterations >= longest.iterations:
            break
    return rule.choose(best)
