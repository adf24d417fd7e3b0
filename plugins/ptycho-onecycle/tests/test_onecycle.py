"""Both schedulers satisfy the contract and equal torch's schedulers at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ptycho_onecycle import COSINE_RESTARTS, ONE_CYCLE

from ptycho_cli.extend import ConfigError
from ptycho_cli.extend.conformance import SchedulerConformance
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.learning_rates import curve, span_of, start_schedule

RATE = 2e-3


class TestOneCycle(SchedulerConformance):
    entry = ONE_CYCLE
    options = ({}, {"rise": "2ep", "anneal": "linear"}, {"rise": 1, "div_factor": 1})


class TestCosineRestarts(SchedulerConformance):
    entry = COSINE_RESTARTS
    options = ({}, {"period": "1ep", "growth": 2}, {"period": 3, "min_ratio": 0.5})


def rates_of_torch(make: Callable[[torch.optim.Optimizer], Any], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=RATE)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("rise", [2, 30, 99])
def test_one_cycle_is_torchs_without_momentum(anneal: str, rise: int) -> None:
    span = span_of(20, 5, 1)

    ours = [row[0] for row in curve(ONE_CYCLE, span, {"rise": rise, "anneal": anneal}, [RATE])]
    theirs = rates_of_torch(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=RATE,
            total_steps=100,
            pct_start=rise / 100,
            anneal_strategy=anneal,  # type: ignore[arg-type]
            cycle_momentum=False,
        ),
        100,
    )

    assert ours == pytest.approx(theirs, rel=1e-9)
    assert max(ours) == pytest.approx(RATE)
    assert ours[-1] == pytest.approx(RATE / 25 / 1e4)


def test_one_cycle_refuses_a_rise_as_long_as_the_training() -> None:
    with pytest.raises(ConfigError, match=r"rise: 5ep is 100 steps, expected fewer than the 100 steps of the training"):
        start_schedule(ONE_CYCLE, span_of(20, 5, 1), {"rise": "5ep"})


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_cosine_restarts_are_torchs(growth: int) -> None:
    span = span_of(20, 5, 1)
    options = {"period": 7, "growth": growth, "min_ratio": 0.1}

    ours = [row[0] for row in curve(COSINE_RESTARTS, span, options, [RATE])]
    theirs = rates_of_torch(
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, T_0=7, T_mult=growth, eta_min=0.1 * RATE
        ),
        100,
    )

    assert ours == pytest.approx(theirs, rel=1e-12)


def test_the_installed_distribution_offers_both() -> None:
    (record,) = [item for item in load_plugins().plugins if item.distribution == "ptycho-onecycle"]

    assert (record.status, record.names()["schedulers"]) == ("loaded", ["OneCycle", "CosineRestarts"])
