"""The choice of a run: the polish, and the weight of the prior in it, with which held-out frames are explained best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish, PolishRule, polish_rule
from ptycho_cli.calibration.auto_rules import POLISH_CHOICES
from ptycho_cli.calibration.held_out_frames import exceeds_error
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out_trial import HeldOutTrial

# A polish is kept if it adds less than this share of what photon noise leaves to the deviance of held-out frames, which
# hardly show what it does for slow phases. On the star at 1e6 photons 6 dB come with 0.3 % more deviance, on weak
# objects 1 to 3 dB with 1 to 2 %; where it fits noise or errors of the model, 3 % are added (docs/lab/polish.md).
MAX_ADDED_DEVIANCE = 0.02
# Weights that are tried, and then the one where a parabola through their deviances is lowest. Over objects, sizes and
# doses from 1e4 to 1e7 the best lies between them; held-out frames alone may choose three times too much
# (docs/lab/polish.md).
TV_WEIGHTS = (0.06, 0.14, 0.33)


def choose_polish(objective: Objective, config: Config, scan: Scan, trial: HeldOutTrial) -> Polish:
    """Choose the polish, and the prior in it, after which held-out frames have the lowest deviance, or none.

    What is set is taken as it is. Where training held out no frames, the rule decides alone. At doses for which
    there is no polish without a prior, one with a prior must explain them better by more than its standard error: few
    held-out frames hardly show slow phases, which it may make worse (docs/lab/low_dose.md).

    Args:
        objective: Trained network and probe.
        config: Settings of the run.
        scan: Its first training scan.
        trial: The reconstruction without its held-out frames.
    """
    rule = polish_rule(objective, config, scan)
    polish = choose_iterations(rule, trial)
    smooth = choose_prior(rule, polish, trial)
    if rule.choose().iterations or not smooth.iterations:
        return smooth
    gained = trial.frame_deviances(polish) - trial.frame_deviances(smooth)
    return smooth if exceeds_error(gained) else polish


def choose_iterations(rule: PolishRule, trial: HeldOutTrial) -> Polish:
    """The polish with the best number of iterations; without a prior, unless one is set."""
    longest = rule.choose()
    if rule.iterations is not None or not longest.iterations or not trial.unseen:
        return longest
    unpolished = Polish(0)
    lowest, best = trial.deviance(unpolished) + MAX_ADDED_DEVIANCE * trial.score(unpolished).noise, 0
    for iterations in POLISH_CHOICES:
        deviance = trial.deviance(replace(longest, iterations=iterations))
        if deviance >= lowest:
            break
        best, lowest = iterations, deviance
        if iterations >= longest.iterations:
            break
    return rule.choose(best)


def choose_prior(rule: PolishRule, polish: Polish, trial: HeldOutTrial) -> Polish:
    """The same polish, or one with a total-variation prior if held-out frames are explained better with it.

    Some waves of the object are hardly measured: slow ones, those that a masked gap of the detector hides, and at low
    dose nearly all. The likelihood alone fills them with noise. So weights of the prior are tried, also after networks
    and at doses for which there is no polish without it.
    """
    if rule.tv_weight is not None or rule.iterations == 0 or not trial.unseen:
        return polish
    smoother = [rule.choose(tv_weight=weight) for weight in TV_WEIGHTS]
    between = _lowest_between(TV_WEIGHTS, [trial.deviance(one) for one in smoother])
    if between not in TV_WEIGHTS:
        smoother.append(rule.choose(tv_weight=between))
    return min((polish, *smoother), key=trial.deviance)


def _lowest_between(weights: Sequence[float], deviances: list[float]) -> float:
    """The weight at which a parabola through the deviances of three weights is lowest, to two digits."""
    logarithms = np.log(weights)
    bend, slope, _ = np.polyfit(logarithms, deviances, 2)
    if not bend > 0:  # nor if a deviance is not a number
        return weights[int(np.argmin(deviances))]
    lowest = np.exp(np.clip(-slope / (2 * bend), logarithms[0], logarithms[-1]))
    return float(f"{lowest:.2g}")
