"""Each conformance test fails for an entry that breaks its rule."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import Field

from ptycho_cli import built_in
from ptycho_cli.extend import CallbackContext, CallbackEntry, Options, Schedule, SchedulerEntry, Span, closed_form
from ptycho_cli.extend.conformance import CallbackConformance, SchedulerConformance
from ptycho_cli.extend.hooks import HOOKS
from ptycho_cli.extend.import_check import import_cost
from ptycho_cli.extend.validate import check_entries


def test_the_built_in_entries_pass_the_checks_of_a_plugin() -> None:
    """They are not checked when they are loaded, which every command does."""
    for hook in HOOKS:
        offered = getattr(built_in, hook.name, list)()
        assert check_entries(hook, offered) == tuple(offered)


class Nothing(Options):
    """No options."""


class Undescribed(Options):
    height: float = 1.0


class Drifting(Options):
    """Options that JSON does not restore."""

    height: float = Field(0.1, description="Height.", exclude=True)


def checked(build: Callable[..., Schedule], options: type[Options] = Nothing, **entry: Any) -> SchedulerConformance:
    class Checked(SchedulerConformance):
        pass

    Checked.entry = SchedulerEntry("Mine", "A try.", options, build, **entry)
    return Checked()


def following(factor: Callable[[int, Span], float], **schedule: Any) -> Callable[..., Schedule]:
    return lambda optimizer, span, options: Schedule(closed_form(optimizer, lambda t: factor(t, span)), **schedule)


def test_a_rate_below_zero_is_caught() -> None:
    conformance = checked(following(lambda step, span: 1.0 - 2.0 * step / span.total_steps))

    with pytest.raises(AssertionError, match="at step 55 of 108"):
        conformance.test_rates_are_finite_and_not_negative_over_the_whole_span()


def test_a_scheduler_that_counts_micro_batches_runs_out_of_its_span() -> None:
    """A formula that divides by the number of remaining steps is infinite at the last step."""
    conformance = checked(following(lambda step, span: 1.0 if step < span.total_steps - 1 else float("inf")))

    with pytest.raises(AssertionError, match="rates"):
        conformance.test_rates_are_finite_and_not_negative_over_the_whole_span()


def test_groups_with_different_factors_are_caught() -> None:
    def build(optimizer: Any, span: Span, options: Nothing) -> Schedule:
        from torch.optim.lr_scheduler import LambdaLR

        return Schedule(LambdaLR(optimizer, [lambda step: 1.0, lambda step: 0.5]))

    with pytest.raises(AssertionError, match=r"expected 0\.0005"):
        checked(build).test_all_groups_are_scaled_by_one_factor()


def test_a_state_that_forgets_where_it_was_is_caught() -> None:
    def build(optimizer: Any, span: Span, options: Nothing) -> Schedule:
        scheduler: Any = closed_form(optimizer, lambda step: 0.9**step)
        scheduler.state_dict = dict
        scheduler.load_state_dict = lambda state: None
        return Schedule(scheduler)

    with pytest.raises(AssertionError, match="restored at step"):
        checked(build).test_a_restored_state_continues_exactly()


def test_random_rates_are_caught() -> None:
    import random

    conformance = checked(following(lambda step, span: random.random()))

    with pytest.raises(AssertionError, match="two equal trainings have different rates"):
        conformance.test_the_span_is_respected_under_accumulation()


@pytest.mark.parametrize(
    "miscount",
    [lambda span: span.total_steps - 2, lambda span: span.epochs * (18 // round(18 / span.steps_per_epoch))],
    ids=["too few steps", "without the short last window"],
)
def test_a_scheduler_that_miscounts_the_span_is_caught(miscount: Callable[[Span], int]) -> None:
    """torch's OneCycleLR raises after its last step; the second count is wrong only under accumulation."""

    def build(optimizer: Any, span: Span, options: Nothing) -> Schedule:
        from torch.optim.lr_scheduler import OneCycleLR

        return Schedule(OneCycleLR(optimizer, [2e-3, 5e-4], total_steps=miscount(span), cycle_momentum=False))

    with pytest.raises(ValueError, match="Tried to step"):
        checked(build).test_the_span_is_respected_under_accumulation()


def test_a_state_that_needs_pickled_code_is_caught() -> None:
    def build(optimizer: Any, span: Span, options: Nothing) -> Schedule:
        scheduler: Any = closed_form(optimizer, lambda step: 0.9**step)
        scheduler.state_dict = lambda: {"span": span}
        return Schedule(scheduler)

    with pytest.raises(Exception, match="Weights only load failed"):
        checked(build).test_a_restored_state_continues_exactly()


@pytest.mark.parametrize(
    ("build", "entry", "reason"),
    [
        (following(lambda step, span: 1.0, monitor="val_loss"), {}, "a monitor needs interval 'epoch'"),
        (following(lambda step, span: 1.0, loss_weight=lambda step: 1.0), {}, "'staged' and 'loss_weight' disagree"),
        (following(lambda step, span: 1.0), {"staged": True}, "'staged' and 'loss_weight' disagree"),
        (lambda optimizer, span, options: None, {}, "expected a Schedule"),
    ],
)
def test_a_schedule_that_contradicts_itself_is_caught(build: Any, entry: dict[str, Any], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        checked(build, **entry).test_the_factory_returns_a_usable_schedule()


def test_a_loss_weight_beyond_1_is_caught() -> None:
    conformance = checked(following(lambda step, span: 1.0, loss_weight=lambda step: 1.5), staged=True)

    with pytest.raises(AssertionError, match=r"loss weight 1\.5 at step 0"):
        conformance.test_loss_weights_lie_between_0_and_1()


def test_options_without_description_or_round_trip_are_caught() -> None:
    build = following(lambda step, span: 1.0)
    drifting = checked(build, Drifting)
    type(drifting).options = ({"height": 0.7},)

    with pytest.raises(AssertionError, match="options without a description: height"):
        checked(build, Undescribed).test_every_option_has_a_description()
    with pytest.raises(AssertionError, match="came back from JSON"):
        drifting.test_options_survive_json()


def test_an_entry_that_the_host_would_refuse_is_caught() -> None:
    with pytest.raises(AssertionError, match="its options are"):
        checked(following(lambda step, span: 1.0), dict).test_the_host_accepts_the_entry()  # type: ignore[arg-type]


def test_torch_at_import_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "torch.py").write_text("")  # importing the real torch takes seconds
    (tmp_path / "slow_plugin.py").write_text("import torch\nprint('hello')\n")
    (tmp_path / "lost_plugin.py").write_text("import no_such_module\n")

    assert import_cost("slow_plugin").heavy == ("torch",)
    with pytest.raises(RuntimeError, match="importing lost_plugin failed: ModuleNotFoundError"):
        import_cost("lost_plugin")
    assert "slow_plugin" not in sys.modules

    def build(optimizer: Any, span: Span, options: Nothing) -> Schedule:
        return Schedule(closed_form(optimizer, lambda step: 1.0))

    build.__module__ = "slow_plugin"
    with pytest.raises(AssertionError, match="slow_plugin: it imports torch at module level"):
        checked(build).test_importing_the_plugin_loads_nothing_heavy()


def test_a_callback_that_writes_too_early_or_loses_its_state_is_caught(tmp_path: Path) -> None:
    from lightning.pytorch import Callback

    class Forgetful(Callback):
        born = 0

        def __init__(self) -> None:
            Forgetful.born += 1
            self.number = Forgetful.born

        def state_dict(self) -> dict[str, Any]:
            return {"number": self.number}

    def build(context: CallbackContext, options: Nothing) -> Callback:
        (context.run_dir / "early.png").touch()
        return Forgetful()

    class Checked(CallbackConformance):
        entry = CallbackEntry("Mine", "A try.", Nothing, build)

    with pytest.raises(AssertionError, match="wrote into the run folder"):
        Checked().test_the_factory_returns_a_callback_and_writes_nothing(tmp_path)
    with pytest.raises(AssertionError, match="the state differs after saving and loading"):
        Checked().test_the_state_is_saved_and_restored(tmp_path)
    Checked.entry = CallbackEntry("Mine", "A try.", Nothing, lambda context, options: SimpleNamespace())
    with pytest.raises(AssertionError, match="expected a Callback"):
        Checked().test_the_factory_returns_a_callback_and_writes_nothing(tmp_path / "other")
