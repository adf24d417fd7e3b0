"""The rules for schedulers and callbacks as pytest classes, for the tests of a plugin.

Three lines test a scheduler::

    class TestMine(SchedulerConformance):
        entry = MINE
        options = ({}, {"height": 0.5})

Each rule is a separate test, so a report names the rule that is broken. The classes step real
optimizers; they need torch and pytest, but no run, no scan and no installed plugin.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ptycho_cli.extend.import_check import import_cost
from ptycho_cli.extend.learning_rates import BASE_RATES, curve, run_steps, span_of, start_schedule
from ptycho_cli.extend.specs import (
    CallbackContext,
    CallbackEntry,
    ConfigurableEntry,
    Entry,
    Schedule,
    SchedulerEntry,
    Span,
)
from ptycho_cli.extend.validate import Rejection, check_entry

if TYPE_CHECKING:
    from pydantic import BaseModel


class EntryConformance:
    """The tests that hold for an entry of any hook."""

    entry: ClassVar[Entry]

    def test_the_host_accepts_the_entry(self) -> None:
        """Name, summary, functions and, if it has options, a frozen option model."""
        try:
            check_entry(self.entry)
        except Rejection as rejection:
            raise AssertionError(str(rejection)) from None

    def test_importing_the_plugin_loads_nothing_heavy(self) -> None:
        """Every command imports every plugin; import torch, lightning and numpy inside the entry's functions."""
        for module in {getattr(self.entry, function).__module__ for function in self.entry.functions}:
            cost = import_cost(module)
            assert not cost.problems(), f"{module}: {cost.problems()[0]}"


class ConfigurableConformance(EntryConformance):
    """The tests that hold for an entry with options and ``build``."""

    entry: ClassVar[ConfigurableEntry]
    options: ClassVar[Sequence[Mapping[str, Any]]] = ({},)

    def _models(self) -> list[BaseModel]:
        return [self.entry.options.model_validate(dict(given)) for given in self.options]

    def test_every_option_has_a_description(self) -> None:
        """Help, tables and listings show it."""
        missing = [name for name, info in self.entry.options.model_fields.items() if not info.description]
        assert not missing, f"options without a description: {', '.join(missing)}"

    def test_options_survive_json(self) -> None:
        """``run.json`` gives back the same options, and options are hashable."""
        for model in self._models():
            again = type(model).model_validate_json(model.model_dump_json())
            assert again == model, f"{model!r} came back from JSON as {again!r}"
            hash(model)


class SchedulerConformance(ConfigurableConformance):
    """The tests of a scheduler: make a subclass with a name ``Test...`` and set ``entry``.

    Attributes:
        entry: The scheduler under test.
        options: Sets of option values to test with, each a mapping; by default the defaults alone.
        batches: Batches per epoch; the default leaves a short last window under accumulation 4.
        epochs: Epochs of the training.
    """

    entry: ClassVar[SchedulerEntry]
    batches: ClassVar[int] = 18
    epochs: ClassVar[int] = 6

    def _spans(self) -> list[Span]:
        return [span_of(self.batches, self.epochs, accumulate) for accumulate in (1, 4)]

    def _cases(self) -> list[tuple[Span, Mapping[str, Any]]]:
        return [(span, given) for span in self._spans() for given in self.options]

    def test_the_factory_returns_a_usable_schedule(self) -> None:
        """A ``Schedule``; a monitor means one step per epoch; a loss weight means a staged entry."""
        for span, given in self._cases():
            schedule = start_schedule(self.entry, span, given).schedule
            assert isinstance(schedule, Schedule), f"build returned {schedule!r}, expected a Schedule"
            assert schedule.interval in ("step", "epoch"), f"interval is {schedule.interval!r}"
            assert schedule.monitor is None or schedule.interval == "epoch", "a monitor needs interval 'epoch'"
            assert self.entry.staged == (schedule.loss_weight is not None), "'staged' and 'loss_weight' disagree"

    def test_rates_are_finite_and_not_negative_over_the_whole_span(self) -> None:
        """From the first optimizer step to the last, under accumulation 1 and 4."""
        for span, given in self._cases():
            for step, rates in enumerate(curve(self.entry, span, given)):
                fine = all(math.isfinite(rate) and rate >= 0.0 for rate in rates)
                assert fine, f"options {dict(given)}: rates {rates} at step {step} of {span.total_steps}"

    def test_loss_weights_lie_between_0_and_1(self) -> None:
        """A staged schedule weights two losses; other schedules have no loss weight."""
        for span, given in self._cases():
            weight = start_schedule(self.entry, span, given).schedule.loss_weight
            for step in range(span.total_steps if weight is not None else 0):
                assert weight is not None
                assert 0.0 <= weight(step) <= 1.0, f"loss weight {weight(step)} at step {step}"

    def test_all_groups_are_scaled_by_one_factor(self) -> None:
        """Network and probe have different base rates, whose ratio stays constant, unless ``per_group`` is declared."""
        if self.entry.per_group:
            return
        for span, given in self._cases():
            for step, rates in enumerate(curve(self.entry, span, given)):
                expected = rates[0] * BASE_RATES[1] / BASE_RATES[0]
                assert math.isclose(rates[1], expected, rel_tol=1e-9, abs_tol=1e-18), (
                    f"options {dict(given)}: step {step} uses {rates[1]}, expected {expected}"
                )

    def test_the_span_is_respected_under_accumulation(self) -> None:
        """The scheduler can be stepped ``total_steps`` times, and equal trainings have equal rates."""
        for span, given in self._cases():
            rates = curve(self.entry, span, given)
            assert len(rates) == span.total_steps
            assert rates == curve(self.entry, span, given), "two equal trainings have different rates"

    def test_a_restored_state_continues_exactly(self) -> None:
        """The state passes through a file without pickled code into a newly built scheduler."""
        import torch

        for span, given in self._cases():
            whole = curve(self.entry, span, given)
            for middle in {1, span.total_steps // 2, span.steps_per_epoch * (span.epochs // 2)}:
                first = start_schedule(self.entry, span, given)
                run_steps(first, span, range(middle))
                file = io.BytesIO()
                torch.save([first.optimizer.state_dict(), first.schedule.scheduler.state_dict()], file)
                file.seek(0)
                states = torch.load(file, weights_only=True)
                second = start_schedule(self.entry, span, given)
                second.optimizer.load_state_dict(states[0])
                second.schedule.scheduler.load_state_dict(states[1])
                rest = run_steps(second, span, range(middle, span.total_steps))
                assert rest == whole[middle:], f"options {dict(given)}: restored at step {middle}, the rates differ"


class CallbackConformance(ConfigurableConformance):
    """The tests of a callback: make a subclass with a name ``Test...`` and set ``entry``.

    Attributes:
        entry: The callback under test.
        options: Sets of option values to test with, each a mapping.
    """

    entry: ClassVar[CallbackEntry]

    def context(self, run_dir: Path) -> CallbackContext:
        """The argument of ``build``; override it if the callback needs a scan or a config."""

        def reconstruct() -> tuple[Any, Any]:
            import numpy as np

            return np.ones((24, 32), np.complex64), np.ones((24, 32), np.float32)

        nothing: Any = None
        return CallbackContext(run_dir, nothing, span_of(6, 2, 1), None, reconstruct)

    def test_the_factory_returns_a_callback_and_writes_nothing(self, tmp_path: Path) -> None:
        """``build`` runs before the first step; if the run stops there, a file that it wrote would remain."""
        from lightning.pytorch import Callback

        for model in self._models():
            callback = self.entry.build(self.context(tmp_path), model)
            assert isinstance(callback, Callback), f"build returned {callback!r}, expected a Callback"
            assert not list(tmp_path.iterdir()), "build wrote into the run folder"

    def test_the_state_is_saved_and_restored(self, tmp_path: Path) -> None:
        """The state passes through a file without pickled code."""
        import torch

        for model in self._models():
            context = self.context(tmp_path)
            state = self.entry.build(context, model).state_dict()
            file = io.BytesIO()
            torch.save(state, file)
            file.seek(0)
            again = self.entry.build(context, model)
            again.load_state_dict(torch.load(file, weights_only=True))
            assert again.state_dict() == state, "the state differs after saving and loading a checkpoint"
