"""``WSD`` satisfies the contract and its formula at every step."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from ptycho_wsd import WSD

from ptycho_cli.extend import ConfigError
from ptycho_cli.extend.conformance import SchedulerConformance
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.learning_rates import curve, span_of, start_schedule

SHAPES: dict[str, Callable[[float], float]] = {
    "sqrt": lambda p: 1 - p**0.5,
    "linear": lambda p: 1 - p,
    "cosine": lambda p: math.cos(math.pi * p / 2) ** 2,
}


class TestWSD(SchedulerConformance):
    entry = WSD
    options = ({}, {"warmup": 0, "decay": 0}, {"shape": "cosine", "decay": "2ep", "min_ratio": 0.1})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("low", [0.0, 0.2])
def test_the_rate_rises_stays_and_decays(shape: str, low: float) -> None:
    span = span_of(20, 5, 1)
    expected = [(t + 1) / 10 for t in range(10)] + [1.0] * 60
    expected += [low + (1 - low) * SHAPES[shape](step / 30) for step in range(30)]

    rates = curve(WSD, span, {"warmup": "10%", "decay": "30%", "shape": shape, "min_ratio": low}, [1.0])

    assert [row[0] for row in rates] == pytest.approx(expected, rel=1e-12)


def test_no_step_has_a_rate_of_zero() -> None:
    assert min(row[0] for row in curve(WSD, span_of(7, 3, 4), {}, [1.0])) > 0.0


def test_phases_longer_than_the_training_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"warmup 60% \(12 steps\) and decay 2ep \(10 steps\) are longer than"):
        start_schedule(WSD, span_of(5, 4, 1), {"warmup": "60%", "decay": "2ep"})


def test_the_installed_distribution_offers_it() -> None:
    (record,) = [item for item in load_plugins().plugins if item.distribution == "ptycho-wsd"]

    assert (record.status, record.names()["schedulers"]) == ("loaded", ["WSD"])
