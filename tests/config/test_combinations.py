"""No setting is ignored silently, and settings that contradict each other are refused."""

from __future__ import annotations

import pytest

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.combinations import NO_EFFECT
from ptycho_cli.config.keys import keys
from ptycho_cli.config.provenance import Layer, ProblemsError, Setting, Source
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.values import show


def one_problem(layers: list[Layer], catalogue: Catalogue) -> str:
    with pytest.raises(ProblemsError) as caught:
        resolve(layers, catalogue)
    (problem,) = caught.value.problems
    return str(problem)


EXAMPLES = [
    ({"data.validation_paths": ("v.h5",), "data.validation_fraction": 0.1}, "validation scans replace held-out frames"),
    *(
        ({"data.simulate": "recipe.yaml", key: value}, "scans are simulated")
        for key, value in {
            "data.paths": ("a.h5",),
            "data.validation_paths": ("v.h5",),
            "data.group_size": 5,
            "data.validation_fraction": 0.1,
            "loss.withheld": 0.2,
            "physics.refine_probe": False,
            "physics.probe_modes": 2,
            "physics.probe_warmup": 5,
            "physics.refine_positions": True,
            "physics.refine_intensity": "always",
            "physics.background": 1.0,
            "optimizer.probe_learning_rate": 0.1,
        }.items()
    ),
    ({"data.simulate": None, "loss.name": "object"}, "scans are measured, and their true object is not known"),
    ({"physics.refine_probe": False, "optimizer.probe_learning_rate": 0.1}, "the probe is not refined"),
    ({"physics.refine_probe": False, "physics.probe_warmup": 5}, "the probe is not refined"),
    ({"physics.refine_positions": False, "physics.max_position_shift_px": 3.0}, "positions are not refined"),
    ({"data.position_delay": 0, "data.position_delay_from": 9}, "positions have no delay"),
    ({"checkpoint.enabled": False, "checkpoint.save_top_k": 3}, "checkpoints are off"),
    ({"checkpoint.enabled": False, "checkpoint.monitor": "train_loss"}, "checkpoints are off, and training ends"),
    ({"checkpoint.enabled": False, "checkpoint.mode": "max"}, "checkpoints are off, and training ends"),
    ({"model.weights": "none", "training.weight_interpolation": 0.5}, "the training starts from random weights"),
    ({"execution.live": (), "execution.picture_every": 3}, "no logger and no --live shows pictures"),
    ({"training.epochs": 10, "checkpoint.early_stop_patience": 9}, "the training is too short for it"),
]


def layer_of(values: dict[str, object], source: Source) -> Layer:
    return Layer(source, tuple((key, Setting(value, source, f"from {key}")) for key, value in values.items()))


@pytest.mark.parametrize(
    ("values", "reason"), EXAMPLES, ids=lambda item: "-".join(item) if isinstance(item, dict) else ""
)
def test_a_setting_without_effect_is_refused_unless_it_was_set_for_many_runs(
    values: dict[str, object], reason: str, catalogue: Catalogue
) -> None:
    cause, key = values
    default = keys()[key].default

    for source in (Source.RUN_FILE, Source.ENVIRONMENT, Source.LIBRARY, Source.COMMAND_LINE):
        line = one_problem([layer_of(values, source)], catalogue)
        assert line.startswith(f"from {key}: {key} has no effect: ")
        assert reason in line
        assert f"(from {cause})" in line
        assert f"set it to {show(default)}, its default." in line
        resolve([layer_of({**values, key: default}, source)], catalogue)

    for source in (Source.CHECKPOINT, Source.PRESET, Source.USER_FILE):
        resolved = resolve([layer_of(values, source)], catalogue)
        assert resolved.decision(key).winner == Setting(default, Source.DEFAULT, "default")
        assert resolved.warnings[0].startswith(f"{key} of from {key} is ignored: ")


def test_behind_a_setting_without_effect_the_next_one_may_have_one(catalogue: Catalogue) -> None:
    """A patience of 9 cannot run out in ten epochs; that of 5 in a checkpoint can."""
    checkpoint = layer_of({"training.epochs": 10, "checkpoint.early_stop_patience": 5}, Source.CHECKPOINT)
    resolved = resolve([checkpoint, layer_of({"checkpoint.early_stop_patience": 9}, Source.USER_FILE)], catalogue)

    assert resolved.config.checkpoint.early_stop_patience == 5
    assert len(resolved.warnings) == 1


def test_every_rule_has_an_example_and_reads_only_the_keys_that_it_names() -> None:
    assert [(rule.cause, rule.key) for rule in NO_EFFECT] == [tuple(values) for values, _ in EXAMPLES]
    defaults = {key.name: key.default for key in keys().values()}
    for rule in NO_EFFECT:
        assert not rule.applies(defaults) or defaults[rule.key] == keys()[rule.key].default
        rule.applies({key: defaults[key] for key in (rule.key, *rule.reads)})


def test_patience_that_can_run_out_is_accepted(catalogue: Catalogue) -> None:
    """The first epoch is the best so far, so with a patience of 8 the tenth and last epoch may not come."""
    resolve([layer_of({"training.epochs": 10, "checkpoint.early_stop_patience": 8}, Source.COMMAND_LINE)], catalogue)


def test_early_stopping_needs_what_it_watches_without_checkpoints_too(catalogue: Catalogue) -> None:
    values = {"checkpoint.enabled": False, "data.validation_fraction": 0.0}
    resolve([layer_of(values, Source.COMMAND_LINE)], catalogue)

    line = one_problem([layer_of({**values, "checkpoint.early_stop_patience": 2}, Source.COMMAND_LINE)], catalogue)
    assert "checkpoint.monitor is val_loss, but there is no validation data" in line


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"training.n_groups": 4, "training.batch_size": 8},
            "training.batch_size is 8, but an epoch has only 4 groups",
        ),
        (
            {"training.n_groups": 8, "training.batch_size": 4, "training.accumulate_grad_batches": 3},
            "training.accumulate_grad_batches is 3, but an epoch has only 2 batches.",
        ),
        ({"execution.precision": "64-true", "execution.accelerator": "mps"}, "mps devices have no double precision"),
        (
            {"inference.untrained": True},
            "inference.untrained is for `ptycho infer`: a training",
        ),
        ({"inference.polish": 0, "inference.tv_weight": 0.1}, "inference.polish is 0, and only a polish uses it"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    values: dict[str, object], expected: str, catalogue: Catalogue
) -> None:
    assert expected in one_problem([layer_of(values, Source.COMMAND_LINE)], catalogue)


@pytest.mark.parametrize("source", [Source.LIBRARY, Source.COMMAND_LINE])
def test_a_setting_of_the_training_is_refused_when_a_trained_run_is_used(source: Source, catalogue: Catalogue) -> None:
    """Python callers of ``infer`` could set the number of epochs, without effect."""
    layers = [layer_of({"training.epochs": 5}, Source.CHECKPOINT), layer_of({"training.epochs": 3}, source)]

    with pytest.raises(ProblemsError, match=r"training.epochs has no effect when a trained run is used\. Remove it"):
        resolve(layers, catalogue, command="infer")
    assert resolve([layers[0], layer_of({"training.epochs": 3}, Source.RUN_FILE)], catalogue, command="infer")
