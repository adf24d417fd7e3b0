"""``docs/scheduling.md`` agrees with the program: names, options, defaults, and every formula at every step."""

from __future__ import annotations

import re
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.config.values import show
from ptycho_cli.extend import Length, SchedulerEntry, Span
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.learning_rates import curve, span_of, start_schedule
from ptycho_cli.schedulers import ADAPTIVE, DEFAULT, EXPONENTIAL, MULTI_STAGE, PLATEAU, WARMUP_COSINE

PAGE = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text(encoding="utf-8")
SPAN = span_of(batches=18, epochs=7, accumulate=4)  # 35 steps
RATE = 2e-3


def row(first: str) -> list[str]:
    """Cells of the row that begins with a cell, without the backticks around a formula; the last such row."""
    lines = re.findall(rf"(?m)^\| `{re.escape(first)}` \|(.*)\|$", PAGE)
    return [cell.strip().strip("`") for cell in lines[-1].split(" | ")]


def value(formula: str, step: int, span: Span, options: dict[str, Any], **more: float) -> float:
    """A formula of the page, evaluated with the names that the page defines."""
    steps = {name: item.steps(span) if isinstance(item, Length) else item for name, item in options.items()}
    names = {"b": RATE, "t": step, "T": span.total_steps, "cos": cos, "pi": pi}
    return float(eval(formula, {"__builtins__": {}}, {**names, **steps, **more}))


def options_of(entry: SchedulerEntry, **given: Any) -> dict[str, Any]:
    model = entry.options.model_validate(given)
    return {name: getattr(model, name) for name in type(model).model_fields}


def test_the_table_lists_every_scheduler_with_its_options_and_defaults() -> None:
    table = PAGE[PAGE.index("| name | learning rate |") : PAGE.index("`OneCycle`")]
    listed = dict(re.findall(r"(?m)^\| `(\w+)` \|.*\| (.*) \|$", table))

    host = load_plugins(environment={"PTYCHO_NO_PLUGINS": "1"})
    defaults = {}
    for offer in host.catalogue().of("scheduler"):
        options = [(name, show(info.default)) for name, info in offer.options.model_fields.items()]
        defaults[offer.name] = sorted(options)
    assert {name: sorted(re.findall(r"`(\w+)` ([^,]+)", text)) for name, text in listed.items()} == defaults


@pytest.mark.parametrize("entry", [DEFAULT, EXPONENTIAL], ids=lambda entry: entry.name)
def test_the_formulas_of_the_table_give_the_rate_of_every_step(entry: SchedulerEntry) -> None:
    formula = re.findall(rf"(?m)^\| `{entry.name}` \| `([^`]+)`", PAGE)[0]
    expected = [value(formula, step, SPAN, options_of(entry)) for step in range(SPAN.total_steps)]

    assert [rates[0] for rates in curve(entry, SPAN, {}, [RATE])] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ramp", ["linear", "cosine", "quadratic"])
@pytest.mark.parametrize("entry", [MULTI_STAGE, ADAPTIVE], ids=lambda entry: entry.name)
def test_the_formulas_of_the_stages_give_rate_and_loss_weight_of_every_step(entry: SchedulerEntry, ramp: str) -> None:
    options = options_of(entry, ramp=ramp)
    first, second = (options[name].steps(SPAN) for name in ("stage_1", "stage_2"))
    progress = re.findall(r"progress through stage 2 is `p = ([^`]+)`", PAGE)[0]
    rates, weights = [], []
    for step in range(SPAN.total_steps):
        stage = (step >= first) + (step >= first + second)
        p = value(progress, step, SPAN, options)
        w = value(row(ramp)[0], step, SPAN, options, p=p) if stage == 1 else float(stage > 1)
        rates.append(value(row(entry.name)[stage], step, SPAN, options, p=p, w=w))
        weights.append(w)

    schedule = start_schedule(entry, SPAN, {"ramp": ramp}, [RATE]).schedule
    assert [rate[0] for rate in curve(entry, SPAN, {"ramp": ramp}, [RATE])] == pytest.approx(rates, rel=1e-12)
    assert schedule.loss_weight is not None
    assert [schedule.loss_weight(step) for step in range(SPAN.total_steps)] == pytest.approx(weights, rel=1e-12)


@pytest.mark.parametrize("warmup", [0, "2ep", SPAN.total_steps - 2])
def test_the_formulas_of_the_warm_up_give_the_rate_of_every_step(warmup: object) -> None:
    given = {"warmup": warmup}
    options = options_of(WARMUP_COSINE, **given)
    formulas = [row(condition)[0] for condition in ("t < warmup", "t >= warmup")]
    after = [step >= options["warmup"].steps(SPAN) for step in range(SPAN.total_steps)]
    expected = [value(formulas[late], step, SPAN, options) for step, late in enumerate(after)]

    assert [rates[0] for rates in curve(WARMUP_COSINE, SPAN, given, [RATE])] == pytest.approx(expected, rel=1e-12)


def test_the_formula_of_the_plateau_gives_the_rate_of_a_loss_that_never_improves() -> None:
    """The first epoch sets the lowest loss; then every ``patience + 1`` epochs lower the rate."""
    options = options_of(PLATEAU, min_lr=0.0)
    formula = re.findall(r"The rate is `([^`]+)`\. The count `k`", PAGE)[0]
    counts = [max(0, SPAN.epoch_of(step) - 1) // (options["patience"] + 1) for step in range(SPAN.total_steps)]
    expected = [value(formula, step, SPAN, options, k=k) for step, k in enumerate(counts)]

    assert [rates[0] for rates in curve(PLATEAU, SPAN, {"min_lr": 0.0}, [RATE])] == pytest.approx(expected, rel=1e-12)
