"""Every built-in scheduler compared with its formula, written independently, at every optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from ptycho_cli.errors import ConfigError
from ptycho_cli.extend import SchedulerEntry, Span, closed_form
from ptycho_cli.extend.learning_rates import curve, run_steps, span_of, start_schedule
from ptycho_cli.schedulers import ADAPTIVE, DEFAULT, EXPONENTIAL, MULTI_STAGE, PLATEAU, WARMUP_COSINE

RATES = (2e-3, 1e-4, 0.0)
SPANS = [span_of(18, 5, 1), span_of(18, 5, 4), span_of(1, 3, 4), span_of(7, 1, 1)]
Formula = Callable[[int, Span], float]


def check(entry: SchedulerEntry, options: Mapping[str, Any], formula: Formula, spans: list[Span] = SPANS) -> None:
    """The rate of each group at each step is its base rate times the formula."""
    for span in spans:
        expected = [[rate * formula(step, span) for rate in RATES] for step in range(span.total_steps)]
        torch.testing.assert_close(
            torch.tensor(curve(entry, span, options, RATES), dtype=torch.float64),
            torch.tensor(expected, dtype=torch.float64),
            rtol=1e-13,
            atol=0.0,
        )


def test_default_keeps_the_base_rate() -> None:
    check(DEFAULT, {}, lambda step, span: 1.0)


@pytest.mark.parametrize("gamma", [0.95, 0.5, 1.0])
def test_exponential_decays_once_an_epoch(gamma: float) -> None:
    check(EXPONENTIAL, {"gamma": gamma}, lambda step, span: gamma ** (step // span.steps_per_epoch))


def test_exponential_defaults_to_gamma_095_every_epoch() -> None:
    check(EXPONENTIAL, {}, lambda step, span: 0.95 ** math.floor(step / span.steps_per_epoch))


@pytest.mark.parametrize(("every", "steps"), [(1, 1), (3, 3), ("500", 500)])
def test_exponential_decays_at_any_interval(every: object, steps: int) -> None:
    check(EXPONENTIAL, {"gamma": 0.9, "every": every}, lambda step, span: 0.9 ** (step // steps))


def test_exponential_interval_is_at_least_one_step() -> None:
    """1 % of a short training is less than one step."""
    check(EXPONENTIAL, {"gamma": 0.9, "every": "1%"}, lambda step, span: 0.9**step, [span_of(4, 2, 1)])


RAMPS: dict[str, Callable[[float], float]] = {
    "linear": lambda p: p,
    "cosine": lambda p: (1 - math.cos(math.pi * p)) / 2,
    "quadratic": lambda p: p * p,
}


def thirds(step: int, span: Span, one: float = 0.4, two: float = 0.3) -> tuple[int, float]:
    """Stage 1, 2 or 3, and the progress through stage 2."""
    first, second = (math.floor(share * span.total_steps + 0.5 + 1e-9) for share in (one, two))
    if step < first:
        return 1, 0.0
    return (2, (step - first) / second) if step < first + second else (3, 1.0)


@pytest.mark.parametrize("ramp", RAMPS)
def test_the_stages_move_the_loss_from_amplitude_to_poisson(ramp: str) -> None:
    for entry in (MULTI_STAGE, ADAPTIVE):
        for span in SPANS:
            weight = start_schedule(entry, span, {"ramp": ramp}).schedule.loss_weight
            assert weight is not None
            for step in range(span.total_steps):
                stage, progress = thirds(step, span)
                expected = {1: 0.0, 2: RAMPS[ramp](progress), 3: 1.0}[stage]
                assert weight(step) == pytest.approx(expected, abs=1e-15)


def test_the_default_ramp_is_a_cosine_and_the_last_step_is_pure_poisson() -> None:
    span = span_of(10, 10, 1)
    weight = start_schedule(MULTI_STAGE, span, {}).schedule.loss_weight
    assert weight is not None

    assert [weight(step) for step in (0, 39, 40, 70, 99)] == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert weight(55) == pytest.approx(0.5)
    assert weight(50) == pytest.approx((1 - math.cos(math.pi / 3)) / 2)


@pytest.mark.parametrize("factor", [0.1, 0.5])
def test_multi_stage_follows_a_cosine_between_two_rates(factor: float) -> None:
    def formula(step: int, span: Span) -> float:
        stage, progress = thirds(step, span)
        cosine = (1 + math.cos(math.pi * progress)) / 2
        return {1: 1.0, 2: factor + (1 - factor) * cosine, 3: factor}[stage]

    check(MULTI_STAGE, {"factor": factor, "ramp": "linear"}, formula)


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize(("begin", "end"), [(0.5, 0.1), (1.0, 0.2)])
def test_adaptive_follows_the_loss_weight(begin: float, end: float, ramp: str) -> None:
    def formula(step: int, span: Span) -> float:
        stage, progress = thirds(step, span)
        return {1: 1.0, 2: begin - (begin - end) * RAMPS[ramp](progress), 3: end}[stage]

    check(ADAPTIVE, {"start": begin, "end": end, "ramp": ramp}, formula)


def test_stage_lengths_may_be_steps_and_epochs() -> None:
    span = span_of(10, 5, 1)
    weight = start_schedule(MULTI_STAGE, span, {"stage_1": "1ep", "stage_2": 20, "ramp": "linear"}).schedule.loss_weight
    assert weight is not None

    assert [weight(step) for step in (9, 10, 20, 29, 30)] == [0.0, 0.0, 0.5, 0.95, 1.0]


def test_stages_longer_than_the_training_are_refused() -> None:
    with pytest.raises(ValueError, match="stage_1 60% and stage_2 50% are more than the whole training"):
        MULTI_STAGE.options.model_validate({"stage_1": "60%", "stage_2": "50%"})
    with pytest.raises(ConfigError, match=r"stage_1 2ep \(20 steps\) and stage_2 30 \(30 steps\) are longer than"):
        start_schedule(ADAPTIVE, span_of(10, 4, 1), {"stage_1": "2ep", "stage_2": 30})


@pytest.mark.parametrize(("begin", "low"), [(0.1, 0.1), (0.0, 0.0), (0.5, 1.0)])
@pytest.mark.parametrize("warmup", [0, 5, "2ep"])
def test_warmup_cosine_rises_linearly_and_falls_to_the_last_step(warmup: object, begin: float, low: float) -> None:
    spans = [span_of(18, 5, 1), span_of(18, 5, 4)]

    def formula(step: int, span: Span) -> float:
        rise = 2 * span.steps_per_epoch if warmup == "2ep" else int(str(warmup))
        if step < rise:
            return begin + (1 - begin) * step / rise
        return low + (1 - low) * (1 + math.cos(math.pi * (step - rise) / (span.total_steps - 1 - rise))) / 2

    check(WARMUP_COSINE, {"warmup": warmup, "start": begin, "min_ratio": low}, formula, spans)


def test_warmup_cosine_ends_at_its_lowest_rate() -> None:
    rates = curve(WARMUP_COSINE, span_of(20, 5, 1), {"warmup": "10%"})

    assert rates[0][0] == pytest.approx(2e-4)
    assert rates[10][0] == pytest.approx(2e-3)
    assert rates[99][0] == pytest.approx(2e-4)


def test_warmup_of_the_whole_training_is_refused_and_one_step_less_reaches_the_base_rate() -> None:
    span = span_of(10, 1, 1)

    assert curve(WARMUP_COSINE, span, {"warmup": 9})[-1][0] == 2e-3
    with pytest.raises(ConfigError, match=r"warmup: 1ep is 10 steps, expected fewer than the 10 steps of the training"):
        start_schedule(WARMUP_COSINE, span, {"warmup": "1ep"})


@pytest.mark.parametrize(("factor", "patience"), [(0.5, 2), (0.1, 0), (0.7, 1)])
def test_plateau_lowers_the_rate_after_patience_epochs_without_improvement(factor: float, patience: int) -> None:
    """The first epoch sets the lowest loss; then every ``patience + 1`` epochs lower the rate."""
    span = span_of(3, 14, 1)

    def formula(step: int, span: Span) -> float:
        bad = max(0, span.epoch_of(step) - 1)
        return factor ** (bad // (patience + 1))

    options = {"factor": factor, "patience": patience, "min_lr": 0.0}
    check(PLATEAU, options, formula, [span])


def test_plateau_keeps_the_rate_while_the_loss_improves() -> None:
    span = span_of(3, 10, 1)

    rates = run_steps(start_schedule(PLATEAU, span, {}), span, range(span.total_steps), lambda epoch: -float(epoch))

    assert {tuple(rate) for rate in rates} == {(2e-3, 5e-4)}


def test_plateau_stops_all_groups_where_the_network_reaches_min_lr() -> None:
    """torch would apply one minimum to all groups, which changes their ratio."""
    rates = curve(PLATEAU, span_of(2, 30, 1), {"patience": 0, "min_lr": 3e-4}, (2e-3, 1e-4, 1e-9))

    assert rates[-1] == pytest.approx([3e-4, 1.5e-5, 1.5e-10], rel=1e-12)


def test_plateau_counts_an_improvement_only_beyond_the_threshold() -> None:
    span = span_of(1, 8, 1)
    shrinking = lambda epoch: 0.99**epoch  # noqa: E731 - one per cent better each epoch

    fine = run_steps(start_schedule(PLATEAU, span, {"patience": 0}), span, range(8), shrinking)
    strict = run_steps(start_schedule(PLATEAU, span, {"patience": 0, "threshold": 0.5}), span, range(8), shrinking)

    assert fine[-1][0] == 2e-3
    assert strict[2][0] == 1e-3


def test_plateau_that_could_never_act_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"min_lr: 0\.01 is not below the learning rate 0\.002"):
        start_schedule(PLATEAU, SPANS[0], {"min_lr": 1e-2})


def test_plateau_steps_per_epoch_on_its_monitor() -> None:
    schedule = start_schedule(PLATEAU, SPANS[0], {"monitor": "train_loss"}).schedule

    assert (schedule.interval, schedule.monitor) == ("epoch", "train_loss")
    assert start_schedule(PLATEAU, SPANS[0], {}).schedule.monitor == "val_loss"


def test_the_state_is_the_step_and_the_base_rates_alone() -> None:
    drive = start_schedule(EXPONENTIAL, SPANS[0], {})
    run_steps(drive, SPANS[0], range(7))

    assert drive.schedule.scheduler.state_dict() == {"last_epoch": 7, "base_lrs": [2e-3, 5e-4], "step_count": 8}


def test_a_restored_state_sets_the_rate_of_the_next_step() -> None:
    """Also if the optimizer's state was not restored, or the options have changed."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = closed_form(optimizer, lambda step: 0.5**step)

    scheduler.load_state_dict({"last_epoch": 3, "base_lrs": [8.0], "step_count": 4})

    assert optimizer.param_groups[0]["lr"] == 1.0
    assert scheduler.get_last_lr() == [1.0]


def test_the_default_options() -> None:
    found = {
        entry.name: entry.options().model_dump(mode="json")
        for entry in (DEFAULT, EXPONENTIAL, MULTI_STAGE, ADAPTIVE, WARMUP_COSINE, PLATEAU)
    }

    assert found == {
        "Default": {},
        "Exponential": {"gamma": 0.95, "every": "1ep"},
        "MultiStage": {"stage_1": "40%", "stage_2": "30%", "factor": 0.1, "ramp": "cosine"},
        "Adaptive": {"stage_1": "40%", "stage_2": "30%", "ramp": "cosine", "start": 0.5, "end": 0.1},
        "WarmupCosine": {"warmup": 0, "start": 0.1, "min_ratio": 0.1},
        "ReduceLROnPlateau": {"factor": 0.5, "patience": 2, "min_lr": 5e-5, "threshold": 0.0, "monitor": "val_loss"},
    }
