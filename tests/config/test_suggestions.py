"""A mistyped name gets the nearest known one, spelled as a file, the environment, a flag or Python spells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ptycho_cli
from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.keys import keys_of
from ptycho_cli.config.provenance import Layer, ProblemsError
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.sources import environment_layer, library_layer
from ptycho_cli.errors import ConfigError


def one_problem(layer: Layer, catalogue: Catalogue) -> str:
    with pytest.raises(ProblemsError) as caught:
        resolve([layer], catalogue)
    (problem,) = caught.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("text", "line", "name", "nearest"),
    [
        ("scheduler:\n  optoins:\n    gamma: 0.5\n", 2, "scheduler.optoins", "scheduler.options"),
        ("scheduler:\n  optoins:\n    gamma: 0.5\n    every: 2ep\n", 2, "scheduler.optoins", "scheduler.options"),
        ("scheduler.optoins.gamma: 0.5\n", 1, "scheduler.optoins.gamma", "scheduler.options.gamma"),
        ("scheduler.optoins.momentum: 0.5\n", 1, "scheduler.optoins.momentum", "scheduler.options.momentum"),
        ("modle:\n  name: unrolled\n", 1, "modle", "model"),
        ("trainng:\n  epochs: 3\n  batch_size: 2\n", 1, "trainng", "training"),
        ("trainng:\n", 1, "trainng", "training"),
        ("trainng.epochs: 3\n", 1, "trainng.epochs", "training.epochs"),
        ("callbaks:\n  ema:\n    decay: 0.5\n", 1, "callbaks", "callbacks"),
        ("callbaks: [ema]\n", 1, "callbaks", "callbacks"),
        ("callbaks.ema: true\n", 1, "callbaks.ema", "callbacks.ema"),
        ("network_options:\n  width: 3\n", 1, "network_options", "model.options"),
        ("data.detector_distance: 2\n", 1, "data.detector_distance", "data.distance_m"),
        ("data.pixel_size: 2e-5\n", 1, "data.pixel_size", "data.object_pixel_m"),
        ("physics.probe_mods: 2\n", 1, "physics.probe_mods", "physics.probe_modes"),
        ("val_data: v.h5\n", 1, "val_data", "data.validation_paths"),
        ("data:\n  val_data:\n    - v.h5\n", 2, "data.val_data", "data.validation_paths"),
    ],
)
def test_a_settings_file_with_a_mistyped_name(
    text: str, line: int, name: str, nearest: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)

    found = one_problem(file_layer(path), catalogue)

    assert found == f"{path}:{line}: there is no setting {name!r}. Did you mean {nearest}?"


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("PTYCHO_TRAINNG__EPOCHS", "PTYCHO_TRAINING__EPOCHS"),
        ("PTYCHO_SCHEDULER__OPTOINS__GAMMA", "PTYCHO_SCHEDULER__OPTIONS__GAMMA"),
        ("PTYCHO_SCHEDULER__OPTOINS__MOMENTUM", "PTYCHO_SCHEDULER__OPTIONS__MOMENTUM"),
        ("PTYCHO_MODLE__NAME", "PTYCHO_MODEL__NAME"),
        ("PTYCHO_CALLBAKS__EMA", "PTYCHO_CALLBACKS__EMA"),
        ("PTYCHO_DATA__VAL_DATA", "PTYCHO_DATA__VALIDATION_PATHS"),
    ],
)
def test_a_variable_with_a_mistyped_name(variable: str, nearest: str, catalogue: Catalogue) -> None:
    key = variable.removeprefix("PTYCHO_").lower().replace("__", ".")

    found = one_problem(environment_layer({variable: "3"}), catalogue)

    assert found == f"${variable}: there is no setting {key!r}. Did you mean {nearest}?"


def test_a_variable_with_a_mistyped_group_alone_gets_a_warning(catalogue: Catalogue) -> None:
    resolved = resolve([environment_layer({"PTYCHO_TRAINNG": "3"})], catalogue)

    (line,) = resolved.warnings
    assert line == (
        "$PTYCHO_TRAINNG is not a setting and has no effect. Did you mean PTYCHO_TRAINING?"
        f" It has {', '.join(key.env for key in keys_of('training'))}."
    )


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("trainng.epochs", "training.epochs"),
        ("trainng", "training"),
        ("scheduler.optoins.gamma", "scheduler.options.gamma"),
        ("scheduler.optoins.momentum", "scheduler.options.momentum"),
        ("scheduler.optoins", "scheduler.options"),
        ("callbak.ema", "callbacks.ema"),
        ("val_data", "data.validation_paths"),
    ],
)
def test_a_mistyped_name_after_set(name: str, nearest: str, catalogue: Catalogue) -> None:
    found = one_problem(command_line_layer([Typed("--set", f"{name}=3", 2)]), catalogue)

    assert found == f"--set (argument 2): there is no setting {name!r}. Did you mean {nearest}?"


@pytest.mark.parametrize("name", ["trainng.momentum", "trainng.own.thing"])
def test_a_mistyped_group_with_an_unknown_name_gets_the_settings_of_the_group(name: str, catalogue: Catalogue) -> None:
    found = one_problem(command_line_layer([Typed("--set", f"{name}=3", 2)]), catalogue)

    there_is_none = f"--set (argument 2): there is no setting {name!r}."
    names = ", ".join(key.name for key in keys_of("training"))
    assert found == f"{there_is_none} Did you mean training? It has {names}."


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("epoch", 2, "epochs"),
        ("num_epochs", 2, "epochs"),
        ("val_dat", "v.h5", "val_data"),
        ("trainng", {"epochs": 2}, "training"),
        ("trainng.epochs", 2, "epochs"),
        ("training.epoch", 2, "epochs"),
        ("schedulr", "Exponential", "scheduler"),
        ("scheduler_optoins", {"gamma": 0.5}, "scheduler_options"),
        ("scheduler_option", {"gamma": 0.5}, "scheduler_options"),
        ("scheduler.optoins", {"gamma": 0.5}, "scheduler_options"),
        ("network_option", {"width": 2}, "network_options"),
        ("model_options", {"width": 2}, "network_options"),
        ("callback", ["ema"], "callbacks"),
        ("validation_fraction", 0.1, '**{"data.validation_fraction": ...}'),
    ],
)
def test_a_mistyped_argument_in_python(name: str, value: Any, nearest: str, catalogue: Catalogue) -> None:
    found = one_problem(library_layer({name: value}), catalogue)

    assert found == f"argument {name}: there is no setting {name!r}. Did you mean {nearest}?"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"network_options": 3}, "argument network_options: model.options is 3, expected a dict of options."),
        ({"callbacks": 3}, "argument callbacks: callbacks is 3, expected names, or a dict of names and their options."),
        (
            {"training": {"epochs": 2}},
            "argument training: training is a group of settings, expected one of them."
            f" It has {', '.join(key.argument or key.name for key in keys_of('training'))}.",
        ),
    ],
)
def test_an_argument_of_the_wrong_form_in_python(settings: dict[str, Any], expected: str, catalogue: Catalogue) -> None:
    assert one_problem(library_layer(settings), catalogue) == expected


@pytest.mark.parametrize("callbacks", ["ema", ["ema"], {"ema": {}}, {"ema": None}, {"ema": True}])
def test_python_chooses_a_callback_by_name_list_or_dict(callbacks: Any, catalogue: Catalogue) -> None:
    resolved = resolve([library_layer({"callbacks": callbacks})], catalogue)

    assert [entry.name for entry in resolved.config.callbacks] == ["ema"]


def test_python_drops_a_callback_of_a_weaker_layer(catalogue: Catalogue) -> None:
    chosen = environment_layer({"PTYCHO_CALLBACKS__EMA": "1"})

    resolved = resolve([chosen, library_layer({"callbacks": {"ema": False}})], catalogue)

    assert resolved.config.callbacks == ()


def refused_by_python(*data: Path, **settings: Any) -> list[str]:
    with pytest.raises(ProblemsError) as caught:
        ptycho_cli.train(*data, **settings)
    return [str(problem) for problem in caught.value.problems]


def test_train_in_python_reports_all_problems_with_hints_that_fit_python(tmp_path: Path) -> None:
    """The folder was refused after minutes of calibration, with a hint at ``--force``."""
    scan, full = tmp_path / "scan.h5", tmp_path / "runs"
    full.mkdir()
    (full / "run.json").touch()

    lines = refused_by_python(tmp_path / "scn.h5", output_dir=full)
    assert lines == [
        f"argument data.paths: {tmp_path / 'scn.h5'}: no such file, expected a scan file.",
        f"argument output_dir: {full}: the folder is not empty. Choose another folder.",
    ]
    scan.write_text("x")
    (line,) = refused_by_python(scan)
    assert line == 'training.output_dir: no folder for the run. Name it, as in train("scan.h5", output_dir="RUN").'
    (line,) = refused_by_python(output_dir=tmp_path / "run")
    assert line == 'data.paths: no scan to train on. Name it, as in train("scan.h5", output_dir="RUN").'


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (("a.h5",), {"resume": "runs/star"}, "argument resume: this is an option of the command `ptycho train`"),
        (("a.h5",), {"force": True}, "argument force: this is an option of the command `ptycho train`"),
        ((["a.h5", "b.h5"],), {}, "found a list, expected the path of a scan file"),
    ],
)
def test_what_only_the_command_line_takes_is_refused_in_python(data: Any, settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ptycho_cli.train(*data, **settings)
    assert caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {"data.validation_fraction": 0},
        {"data.validation_fraction": 0, "checkpoint_monitor": "train_loss", "scheduler": "ReduceLROnPlateau"},
        {"scheduler": "MultiStage", "loss": "amplitude"},
        {"checkpoint_save_top_k": 0},
        {"accelerator": "mps", "precision": "64-true"},
        {"untrained": True},
        {"callbacks.ema.decay": 0.5},
        {"network_options": {"gain": 2}},
    ],
)
def test_no_hint_to_a_python_caller_names_a_flag(settings: dict[str, Any], catalogue: Catalogue) -> None:
    line = one_problem(library_layer(settings), catalogue)

    assert "--" not in line.replace("`ptycho infer --untrained`", "")
