"""Names and options of schedulers and callbacks, resolved with all other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.provenance import Layer, ProblemsError, Resolved
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.sources import environment_layer


def typed(*arguments: str) -> Layer:
    return command_line_layer([Typed(arguments[i], arguments[i + 1], i + 1) for i in range(0, len(arguments), 2)])


def from_file(tmp_path: Path, text: str, name: str = "run.yaml") -> Layer:
    path = tmp_path / name
    path.write_text(text)
    return file_layer(path)


def refused(layers: list[Layer], catalogue: Catalogue) -> str:
    with pytest.raises(ProblemsError) as caught:
        resolve(layers, catalogue)
    return str(caught.value)


def options(resolved: Resolved) -> dict[str, object]:
    return resolved.config.scheduler.options.model_dump()


def test_the_case_of_a_schedulers_name_does_not_matter(catalogue: Catalogue) -> None:
    resolved = resolve([typed("--scheduler", "eXPONENTIAL", "--scheduler-option", "gamma=0.5")], catalogue)

    assert resolved.config.scheduler.name == "Exponential"
    assert resolved.decision("scheduler.name").winner.value == "Exponential"
    assert options(resolved) == {"gamma": 0.5, "every": "1ep"}


def test_an_option_that_the_scheduler_lacks_is_refused_with_the_nearest(catalogue: Catalogue) -> None:
    text = refused([typed("--scheduler", "Exponential", "--scheduler-option", "gama=0.5")], catalogue)
    assert "scheduler.options.gama has no effect: Exponential has no option 'gama'. Did you mean gamma?" in text

    text = refused([typed("--scheduler-option", "gamma=0.5")], catalogue)
    assert "Default has no option 'gamma'. Default takes no options. Exponential would take it." in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gamma=2", "scheduler.options.gamma is 2, expected a number, above 0, at most 1."),
        ("every=often", "scheduler.options.every is often: a length is steps, epochs or percent"),
    ],
)
def test_a_bad_option_is_refused_at_its_place(text: str, expected: str, catalogue: Catalogue) -> None:
    line = refused([typed("--scheduler", "Exponential", "--scheduler-option", text)], catalogue)

    assert line.startswith(f"--scheduler-option (argument 3): {expected}")


def test_a_required_option_that_is_missing_is_a_problem(catalogue: Catalogue) -> None:
    assert "scheduler.options.low: field required" in refused([typed("--scheduler", "OneCycle")], catalogue)
    resolved = resolve([typed("--scheduler", "onecycle", "--set", "scheduler.options.low=1")], catalogue)
    assert options(resolved) == {"low": 1, "high": 3}


def test_two_plugins_with_one_name_are_both_named_unless_one_is_chosen(catalogue: Catalogue) -> None:
    text = refused([typed("--scheduler", "Twice")], catalogue)
    assert "ptycho-left 1.0 and ptycho-right 2.0 both offer the scheduler Twice." in text

    resolved = resolve([typed("--scheduler", "ptycho-right:twice")], catalogue)
    assert resolved.config.scheduler.name == "ptycho-right:Twice"
    assert options(resolved) == {"factor": 0.5, "monitor": "val_loss"}


def test_a_plugin_cannot_take_a_built_in_name_unless_asked(catalogue: Catalogue) -> None:
    plain = resolve([typed("--scheduler", "Exponential")], catalogue)
    assert "gamma" in options(plain)
    assert "ptycho-thief 0.3 offers a scheduler Exponential too" in plain.warnings[0]

    asked = resolve([typed("--scheduler", "ptycho-thief:Exponential")], catalogue)
    assert asked.config.scheduler.name == "ptycho-thief:Exponential"
    assert options(asked) == {}


def test_environment_names_of_options_do_not_depend_on_case(catalogue: Catalogue) -> None:
    environ = {"PTYCHO_SCHEDULER__NAME": "exponential", "PTYCHO_SCHEDULER__OPTIONS__GAMMA": "0.25"}

    resolved = resolve([environment_layer(environ)], catalogue)

    assert options(resolved)["gamma"] == 0.25
    assert resolved.decision("scheduler.options.gamma").winner.origin == "$PTYCHO_SCHEDULER__OPTIONS__GAMMA"


def test_an_unknown_name_lists_the_plugins_that_were_left_out() -> None:
    broken = Catalogue(broken=("plugin ptycho-x 1.0 was left out: it raised.",))

    assert "ptycho-x 1.0 was left out" in refused([typed("--scheduler", "X")], broken)


def test_callbacks_come_in_the_order_given_with_their_options(tmp_path: Path, catalogue: Catalogue) -> None:
    layers = [
        from_file(tmp_path, "callbacks:\n  live-preview:\n"),
        typed("--callback", "EMA", "--callback-option", "ema.decay=0.5"),
    ]

    resolved = resolve(layers, catalogue)

    assert [entry.name for entry in resolved.config.callbacks] == ["live-preview", "ema"]
    assert resolved.config.callbacks[1].options.model_dump() == {"decay": 0.5, "steps": (1, 2)}
    assert resolved.decision("callbacks.live-preview").winner.origin == f"{tmp_path / 'run.yaml'}:2"
    assert resolved.decision("callbacks.ema.decay").winner.origin == "--callback-option (argument 3)"


def test_a_stronger_layer_turns_a_callback_off(tmp_path: Path, catalogue: Catalogue) -> None:
    chosen = from_file(tmp_path, "callbacks:\n  ema:\n    decay: 0.9\n")

    resolved = resolve([chosen, typed("--set", "callbacks.ema=false")], catalogue)

    assert resolved.config.callbacks == ()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--callback", "ema", "--callback", "EMA"), "the callback ema is given twice, first at --callback"),
        (("--callback", "em"), "there is no callback em. Did you mean ema (from ptycho-ema)?"),
        (("--callback-option", "ema.decay=1"), "the callback ema is not chosen. Add --callback ema."),
        (("--callback-option", "decay=1"), "decay names no callback"),
        (("--callback", "ema", "--callback-option", "ema.dekay=1"), "ema has no option 'dekay'. Did you mean decay?"),
        (("--set", "callbacks.ema=perhaps"), "callbacks.ema is perhaps, expected true, false or its options."),
    ],
)
def test_a_wrong_callback_or_option_is_refused(arguments: tuple[str, ...], expected: str, catalogue: Catalogue) -> None:
    assert expected in refused([typed(*arguments)], catalogue)


def test_environment_chooses_a_callback_with_a_dash(catalogue: Catalogue) -> None:
    resolved = resolve([environment_layer({"PTYCHO_CALLBACKS__LIVE_PREVIEW": "1"})], catalogue)

    assert [entry.name for entry in resolved.config.callbacks] == ["live-preview"]
