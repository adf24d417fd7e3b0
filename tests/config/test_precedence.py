"""Precedence of layers, and the exact provenance of every value."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.earlier_run import checkpoint_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.keys import keys
from ptycho_cli.config.provenance import Layer, Setting, Source
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.sources import environment_layer, library_layer

KEY = "training.epochs"
DEFAULT = keys()[KEY].default
ORDER = [
    Source.SCAN,
    Source.CHECKPOINT,
    Source.PRESET,
    Source.USER_FILE,
    Source.RUN_FILE,
    Source.ENVIRONMENT,
    Source.LIBRARY,
    Source.COMMAND_LINE,
]


def layer(source: Source, value: object, key: str = KEY) -> Layer:
    return Layer(source, ((key, Setting(value, source, f"from {source.label}")),))


@pytest.mark.parametrize(("weaker", "stronger"), list(pairwise(ORDER)))
def test_the_stronger_of_two_neighbouring_layers_wins(weaker: Source, stronger: Source, catalogue: Catalogue) -> None:
    for layers in ([layer(weaker, 3), layer(stronger, 4)], [layer(stronger, 4), layer(weaker, 3)]):
        resolved = resolve(layers, catalogue)

        assert resolved.config.training.epochs == 4
        assert [item.origin for item in resolved.decision(KEY).overridden] == [f"from {weaker.label}", "default"]


def test_the_weakest_layer_overrides_the_default(catalogue: Catalogue) -> None:
    assert resolve([], catalogue).config.training.epochs == DEFAULT
    assert resolve([layer(Source.SCAN, 3)], catalogue).config.training.epochs == 3


def test_overridden_settings_are_converted_and_ordered_strongest_first(catalogue: Catalogue) -> None:
    layers = [layer(source, str(20 + source)) for source in reversed(ORDER)]

    decision = resolve(layers, catalogue).decision(KEY)

    assert decision.winner == Setting(28, Source.COMMAND_LINE, "from command-line")
    assert [item.value for item in decision.overridden] == [27, 26, 25, 24, 23, 22, 21, DEFAULT]


def test_each_layer_names_its_exact_place(tmp_path: Path, catalogue: Catalogue) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("# about\ntraining:\n  batch_size: 2\n\n  epochs: 3\n")
    second.write_text("training.epochs: 4\n")
    layers = [
        checkpoint_layer({"training": {"epochs": 2}}, "runs/star"),
        file_layer(first),
        file_layer(second),
        environment_layer({"PTYCHO_TRAINING__EPOCHS": "5"}),
        command_line_layer([Typed("--epochs", "6", 3), Typed("--set", "training.epochs=7", 5)]),
    ]

    decision = resolve(layers, catalogue).decision(KEY)

    provenance = [(item.value, item.origin) for item in (decision.winner, *decision.overridden)]
    assert provenance == [
        (7, "--set (argument 5)"),
        (6, "--epochs (argument 3)"),
        (5, "$PTYCHO_TRAINING__EPOCHS"),
        (4, f"{second}:1"),
        (3, f"{first}:5"),
        (2, "checkpoint runs/star"),
        (DEFAULT, "default"),
    ]


def test_of_a_flag_and_set_the_later_wins(catalogue: Catalogue) -> None:
    flag, assignment = Typed("--epochs", "6", 1), Typed("--set", "training.epochs=7", 3)

    assert resolve([command_line_layer([flag, assignment])], catalogue).config.training.epochs == 7
    assert resolve([command_line_layer([assignment, flag])], catalogue).config.training.epochs == 6


def test_a_library_caller_may_use_keys_or_flag_names(catalogue: Catalogue) -> None:
    layers = [
        library_layer(
            {
                "training.epochs": 5,
                "learning_rate": 1e-4,
                "scheduler": "exponential",
                "scheduler_options": {"gamma": 0.5},
                "callbacks": ["ema"],
                "data.paths": [Path("a.h5"), "b.h5"][1:],
            }
        )
    ]

    resolved = resolve(layers, catalogue)

    assert resolved.config.training.epochs == 5
    assert resolved.config.optimizer.learning_rate == 1e-4
    assert resolved.config.scheduler.name == "Exponential"
    assert resolved.config.scheduler.options.model_dump()["gamma"] == 0.5
    assert resolved.config.data.paths == ("b.h5",)
    assert [entry.name for entry in resolved.config.callbacks] == ["ema"]
    assert resolved.decision("optimizer.learning_rate").winner.origin == "argument learning_rate"


def test_values_of_a_repeated_list_flag_are_joined_at_the_first_place(catalogue: Catalogue) -> None:
    typed = [Typed("--val-data", "a.h5", 2), Typed("DATA", "x.h5", 4), Typed("--val-data", "b.h5", 5)]

    resolved = resolve([command_line_layer(typed)], catalogue)

    assert resolved.config.data.validation_paths == ("a.h5", "b.h5")
    assert resolved.config.data.paths == ("x.h5",)
    assert resolved.decision("data.validation_paths").winner.origin == "--val-data (argument 2)"


def test_every_key_has_one_decision_and_options_follow_their_group(catalogue: Catalogue) -> None:
    resolved = resolve([layer(Source.RUN_FILE, "Exponential", "scheduler.name")], catalogue)

    names = [decision.key for decision in resolved]
    at = names.index("scheduler.name")
    assert names[at : at + 3] == ["scheduler.name", "scheduler.options.gamma", "scheduler.options.every"]
    assert len(names) == len(set(names))
    assert resolved.decision("scheduler.options.gamma").winner == Setting(0.95, Source.DEFAULT, "default")


def test_overriding_what_a_checkpoint_fixes_is_a_problem_that_names_it(catalogue: Catalogue) -> None:
    from ptycho_cli.config.provenance import ProblemsError

    fixed = checkpoint_layer(
        {"model": {"options": {"width": 16}}, "physics": {"refine_probe": False}}, "runs/star", command="infer"
    )
    same = layer(Source.COMMAND_LINE, "16", "model.options.width")
    assert resolve([fixed, same], catalogue, command="infer").decision("model.options.width").winner.value == 16

    with pytest.raises(ProblemsError) as caught:
        resolve([fixed, layer(Source.ENVIRONMENT, "32", "model.options.width")], catalogue, command="infer")
    assert "model.options.width cannot be 32: checkpoint runs/star fixes it to 16" in str(caught.value)

    other = layer(Source.COMMAND_LINE, "true", "physics.refine_probe")
    for command in ("train", "infer"):
        with pytest.raises(ProblemsError, match="checkpoint runs/star fixes it to false"):
            resolve([fixed, other], catalogue, command=command)


def test_only_fixed_settings_of_a_checkpoint_override_the_users_file(catalogue: Catalogue) -> None:
    fixed = checkpoint_layer({"model": {"options": {"width": 16}}, "training": {"epochs": 9}}, "runs/star")
    own = [layer(Source.USER_FILE, 32, "model.options.width"), layer(Source.USER_FILE, 3)]

    resolved = resolve([fixed, *own], catalogue)

    width, epochs = resolved.decision("model.options.width"), resolved.decision(KEY)
    assert [item.value for item in (width.winner, *width.overridden)] == [16, 32, 24]
    assert [item.value for item in (epochs.winner, *epochs.overridden)] == [3, 9, DEFAULT]
    assert (width.fixed, width.differs_from_checkpoint) == (True, False)
    assert (epochs.fixed, epochs.differs_from_checkpoint) == (False, True)


def test_infer_inherits_the_network_but_not_where_it_was_trained(catalogue: Catalogue) -> None:
    config = {
        "data": {"paths": ["old.h5"], "zero_frequency": "corner"},
        "execution": {"accelerator": "gpu"},
        "scheduler": {"name": "NotInstalled", "options": {"x": 1}},
        "callbacks": {"gone": {}},
        "model": {"options": {"width": 16}},
    }

    resolved = resolve([checkpoint_layer(config, "runs/star", command="infer")], catalogue, command="infer")

    assert resolved.decision("model.options.width").winner.value == 16
    assert resolved.config.data.zero_frequency == "corner"
    assert resolved.config.data.paths == ()
    assert resolved.config.execution.accelerator == "auto"
    assert resolved.config.scheduler.name == "Default"


def test_options_for_the_scheduler_of_a_checkpoint_are_ignored_with_a_warning(catalogue: Catalogue) -> None:
    old = checkpoint_layer({"scheduler": {"name": "Exponential", "options": {"gamma": 0.5}}}, "runs/star")

    resolved = resolve([old, layer(Source.COMMAND_LINE, "Default", "scheduler.name")], catalogue)

    assert resolved.config.scheduler.name == "Default"
    assert resolved.warnings[0] == (
        "scheduler.options.gamma of checkpoint runs/star is ignored: from command-line chooses Default in place of"
        " Exponential."
    )
