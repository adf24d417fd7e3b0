"""The choice of a run: after how many iterations of polish held-out frames are explained best."""

from __future__ import annotations

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish, polish_rule
from ptycho_cli.calibration.auto_rules import POLISH_CHOICES
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out_trial import HeldOutTrial

# A polish is kept if the deviance of held-out frames stays below this share of that without: frames hardly show what
# it does for slow phases. On the star at 1e6 photons 6 dB come with 0.3 % more deviance; where it fits noise or
# errors of the model, the deviance grows by 2 %.
MAX_DEVIANCE_RATIO = 1.01


def choose_polish(objective: Objective, config: Config, scan: Scan, trial: HeldOutTrial) -> Polish:
    """Choose the iterations of polish after which held-out frames have the lowest deviance, or none.

    The number that is set is taken as it is. Where training held out no frames, or the rule excludes a polish, the
    rule decides alone.

    Args:
        objective: Trained network and probe.
        config: Settings of the run.
        scan: Its first training scan.
        trial: The reconstruction without its held-out frames.
    """
    rule = polish_rule(objective, config, scan)
    longest = rule.choose()
    if not longest.auto or not longest.iterations or not trial.unseen:
        return longest
    lowest, best = MAX_DEVIANCE_RATIO * trial.deviance(0), 0
    for iterations in POLISH_CHOICES:
        deviance = trial.deviance(iterations)
        if deviance >= lowest:
            break
        best, lowest = iterations, deviance
        if iterations >= longest.iterations:
            break
    return rule.choose(best)
