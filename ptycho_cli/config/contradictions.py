"""Contradictions between settings that are each fine alone; every problem names the place to mend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ptycho_cli.config.catalogue import EntryInfo
from ptycho_cli.config.inherit import Use
from ptycho_cli.config.provenance import Decision, Problem, Resolved, Source
from ptycho_cli.config.values import show


class _Check(NamedTuple):
    """A check and the keys it reads; it is skipped where one of them has no usable value."""

    reads: tuple[str, ...]
    find: Callable[[Resolved, EntryInfo | None], Iterable[Problem]]
    commands: tuple[str, ...] = ("train",)


def cross_check(resolved: Resolved, scheduler: EntryInfo | None, failed: set[str], command: str) -> list[Problem]:
    """All contradictions across fields that matter to a command."""
    found: list[Problem] = []
    for check in _CHECKS:
        if command in check.commands and not failed.intersection(check.reads):
            found += check.find(resolved, scheduler)
    return found


def seal(resolved: Resolved, use: Use) -> list[Problem]:
    """What a checkpoint fixes cannot be overridden with another value, nor what the command ignores be typed."""
    found = []
    for decision in resolved.decisions:
        winner, fixed = decision.winner, decision.fixed_by
        if decision.key.startswith(use.ignored) and winner.source is Source.COMMAND_LINE:
            message = f"{decision.key} has no effect when a trained run is used."
            found.append(Problem(decision.key, winner.origin, message, "Remove it."))
        if fixed is not None and fixed.value != winner.value:
            message = f"{decision.key} cannot be {show(winner.value)}: {fixed.origin} fixes it to {show(fixed.value)}."
            found.append(Problem(decision.key, winner.origin, message, "Remove it, or train a new run."))
    return found


def _problem(decision: Decision, message: str, hint: str) -> Problem:
    return Problem(decision.key, decision.winner.origin, message, hint)


def _blame(resolved: Resolved, *keys: str) -> Decision:
    """Of the settings that clash, the one that was set most deliberately."""
    return max((resolved.decision(key) for key in keys), key=lambda decision: decision.winner.source)


def _stages_need_poisson(resolved: Resolved, scheduler: EntryInfo | None) -> Iterator[Problem]:
    config = resolved.config
    if scheduler is not None and scheduler.staged and config.loss.name != "poisson":
        yield _problem(
            _blame(resolved, "scheduler.name", "loss.name"),
            f"the stages of {scheduler.name} lead to the Poisson likelihood, but loss.name is {config.loss.name}.",
            "Set loss.name to poisson, or choose a scheduler without stages.",
        )


def _has_validation(resolved: Resolved) -> bool:
    data = resolved.config.data
    return bool(data.validation_paths) or data.validation_fraction > 0


def _monitor_needs_validation(resolved: Resolved, scheduler: EntryInfo | None) -> Iterator[Problem]:
    config = resolved.config
    stops_early = config.checkpoint.early_stop_patience < config.training.epochs - 1
    if (
        (config.checkpoint.enabled or stops_early)
        and config.checkpoint.monitor == "val_loss"
        and not _has_validation(resolved)
    ):
        yield _problem(
            _blame(resolved, "checkpoint.monitor", "data.validation_fraction"),
            "checkpoint.monitor is val_loss, but there is no validation data: data.validation_fraction is 0.",
            "Set checkpoint.monitor to train_loss, or give validation data: data.validation_paths or"
            " data.validation_fraction.",
        )


def _scheduler_monitor_needs_validation(resolved: Resolved, scheduler: EntryInfo | None) -> Iterator[Problem]:
    options = resolved.config.scheduler.options
    if getattr(options, "monitor", None) == "val_loss" and not _has_validation(resolved):
        yield _problem(
            _blame(resolved, "scheduler.name", "data.validation_fraction"),
            f"{resolved.config.scheduler.name} watches val_loss, but there is no validation data:"
            " data.validation_fraction is 0.",
            "Give validation data: data.validation_paths or data.validation_fraction.",
        )


def _keep_something(resolved: Resolved, scheduler: EntryInfo | None) -> Iterator[Problem]:
    decision = resolved.decision("checkpoint.save_top_k")
    if resolved.config.checkpoint.enabled and resolved.config.checkpoint.save_top_k == 0:
        yield _problem(
            decision,
            "checkpoint.save_top_k is 0, which keeps no checkpoint, but checkpoints are on.",
            "Set checkpoint.enabled to false to write none.",
        )


def _epoch_fills_a_step(resolved: Resolved, scheduler: EntryInfo | None) -> Iterator[Problem]:
    """A batch or a window of accumulation that an epoch cannot fill would be shorter than asked for."""
    training = resolved.config.training
    if training.n_groups is None:
        return
    batches = -(-training.n_groups // training.batch_size)
    if training.batch_size > training.n_groups:
        key, most = "training.batch_size", f"{training.n_groups} groups (training.n_groups)"
    elif training.accumulate_grad_batches > batches:
        key, most = "training.accumulate_grad_batches", f"{batches} batches"
    else:
        return
    value = resolved.decision(key).winner.value
    yield _problem(
        _blame(resolved, key, "training.n_groups"),
        f"{key} is {value}, but an epoch has only {most}.",
        "Lower it, or raise training.n_groups.",
    )


def _double_precision_needs_it(resolved: Resolved, scheduler: EntryInfo | None) -> Iterator[Problem]:
    execution = resolved.config.execution
    if execution.precision == "64-true" and execution.accelerator == "mps":
        yield _problem(
            _blame(resolved, "execution.precision", "execution.accelerator"),
            "execution.precision is 64-true, but mps devices have no double precision.",
            "Set execution.accelerator to cpu.",
        )


def _reconstruct_what_was_trained(resolved: Resolved, scheduler: EntryInfo | None) -> Iterator[Problem]:
    """Only ``infer`` may leave out what was learned; a training's own picture is of what it trained."""
    decision = resolved.decision("inference.untrained")
    if decision.winner.value and decision.winner.source is not Source.CHECKPOINT:
        yield _problem(
            decision,
            "inference.untrained would leave out of the run's reconstruction what it trains.",
            "Remove it: the summary scores both, and `ptycho infer --untrained` reconstructs without.",
        )


_CHECKS = (
    _Check(("scheduler.name", "loss.name"), _stages_need_poisson),
    _Check(("checkpoint.enabled", "checkpoint.monitor", "data.validation_fraction"), _monitor_needs_validation),
    _Check(("scheduler.name", "data.validation_fraction"), _scheduler_monitor_needs_validation),
    _Check(("training.n_groups", "training.batch_size", "training.accumulate_grad_batches"), _epoch_fills_a_step),
    _Check(("execution.precision", "execution.accelerator"), _double_precision_needs_it, ("train", "infer")),
    _Check(("inference.untrained",), _reconstruct_what_was_trained),
    _Check(("checkpoint.enabled", "checkpoint.save_top_k"), _keep_something),
)
