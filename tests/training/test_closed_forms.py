"""Every built-in scheduler follows its formula at every optimizer step of a real fit, with and without accumulation."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import Any

import pytest
from lightning.pytorch import Callback

from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

BASE, EPOCHS = 1e-2, 4
HOST = load_plugins(environment={"PTYCHO_NO_PLUGINS": "1"})


def plan(step: int, span: Span) -> tuple[int, float]:
    """Stage and loss weight of the default plan: 40 %, 30 %, cosine; lengths rounded, halves up."""
    first, second = int(0.4 * span.total_steps + 0.5), int(0.3 * span.total_steps + 0.5)
    if step < first:
        return 1, 0.0
    if step >= first + second:
        return 3, 1.0
    return 2, (1 - cos(pi * (step - first) / second)) / 2


def multi_stage(step: int, span: Span) -> float:
    stage, weight = plan(step, span)
    return {1: 1.0, 3: 0.1}.get(stage, 0.1 + 0.9 * (1 - weight))


def adaptive(step: int, span: Span) -> float:
    stage, weight = plan(step, span)
    return 1.0 if stage == 1 else 0.5 - 0.4 * weight


def warmup_cosine(step: int, span: Span) -> float:
    """A warm-up of three steps from a tenth, then a cosine that reaches a tenth at the last step."""
    if step < 3:
        return 0.1 + 0.9 * step / 3
    return 0.1 + 0.9 * (1 + cos(pi * (step - 3) / (span.total_steps - 1 - 3))) / 2


FORMS: dict[str, tuple[dict[str, Any], Callable[[int, Span], float]]] = {
    "Default": ({}, lambda step, span: 1.0),
    "Exponential": ({"gamma": 0.5}, lambda step, span: 0.5 ** (step // span.steps_per_epoch)),
    "Exponential, every 3 steps": ({"gamma": 0.5, "every": 3}, lambda step, span: 0.5 ** (step // 3)),
    "MultiStage": ({}, multi_stage),
    "Adaptive": ({}, adaptive),
    "WarmupCosine": ({"warmup": 3}, warmup_cosine),
}


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("name", FORMS)
def test_rates_follow_the_closed_form_at_every_step(fit: Any, name: str, accumulate: int) -> None:
    options, form = FORMS[name]
    entry = HOST.find(SchedulerEntry, name.partition(",")[0]).entry

    def schedule(optimizer: Any, span: Span) -> Schedule:
        return entry.build(optimizer, span, entry.options(**options))

    run = fit(accumulate=accumulate, schedule=schedule)(epochs=EPOCHS)

    span = run.windows.span(EPOCHS)
    registered = run.trainer.lr_scheduler_configs[0]
    # Lightning's frequency counts batches from the start of each epoch
    assert (registered.interval, registered.frequency, registered.reduce_on_plateau) == ("step", 1, False)
    assert len(run.rates) == span.total_steps == EPOCHS * (7 if accumulate == 1 else 2)
    assert run.rates == pytest.approx([BASE * form(step, span) for step in range(span.total_steps)])
    if entry.staged:
        per_batch = [step for step in range(span.total_steps) for _ in range(_batches(step, accumulate))]
        assert run.objective.weights_seen == pytest.approx([plan(step, span)[1] for step in per_batch])


def _batches(step: int, accumulate: int) -> int:
    """Batches in the window of a step: 7 batches an epoch give windows of 4 and 3."""
    return 1 if accumulate == 1 else (4, 3)[step % 2]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_plateau_halves_after_each_epoch_without_improvement(fit: Any, accumulate: int) -> None:
    """b * factor^k, where k counts the epochs without improvement, patience 0."""
    entry = HOST.find(SchedulerEntry, "ReduceLROnPlateau").entry
    options = entry.options(factor=0.5, patience=0, min_lr=1e-9)

    run = fit(
        accumulate=accumulate,
        schedule=lambda optimizer, span: entry.build(optimizer, span, options),
        callbacks=[Scripted((3.0, 2.0, 2.5, 1.0, 4.0, 5.0))],
    )(epochs=6)

    halvings = [0, 0, 0, 1, 1, 2]  # before each epoch: after the third and the fifth loss did not improve
    assert run.rates == pytest.approx([BASE * 0.5**k for k in halvings for _ in range(run.windows.steps)])


class Scripted(Callback):
    """Replace the validation losses by given ones."""

    def __init__(self, losses: tuple[float, ...]) -> None:
        self.losses = losses

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.losses["val_loss"] = self.losses[trainer.current_epoch]
