"""All problems are reported at once, each with its place and a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.keys import keys_of
from ptycho_cli.config.paths import check_paths
from ptycho_cli.config.provenance import Layer, ProblemsError
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.sources import environment_layer


def problems_of(layers: list[Layer], catalogue: Catalogue) -> list[str]:
    with pytest.raises(ProblemsError) as caught:
        resolve(layers, catalogue)
    return [str(problem) for problem in caught.value.problems]


def one_problem(layers: list[Layer], catalogue: Catalogue) -> str:
    found = problems_of(layers, catalogue)
    assert len(found) == 1, found
    return found[0]


def typed(*arguments: str) -> Layer:
    """Pairs of flag and value."""
    return command_line_layer(
        [Typed(arguments[i], arguments[i + 1], i + 1) for i in range(0, len(arguments), 2)],
    )


def from_file(tmp_path: Path, text: str) -> Layer:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return file_layer(path)


def test_all_problems_of_all_layers_come_at_once(tmp_path: Path, catalogue: Catalogue) -> None:
    found = problems_of(
        [
            from_file(tmp_path, "training:\n  epochs: 0\n  epochz: 3\nscheduler:\n  name: Exponental\n"),
            environment_layer({"PTYCHO_TRAINING__BATCH_SIZ": "1", "PTYCHO_LOSS__NAME": "poison"}),
            typed("--set", "model.widht=3", "--devices", "0", "--set", "nonsense"),
        ],
        catalogue,
    )

    text = "\n".join(found)
    for expected in (
        "run.yaml:2: training.epochs is 0, expected a whole number, at least 1.",
        "run.yaml:3: there is no setting 'training.epochz'. Did you mean training.epochs?",
        "run.yaml:5: there is no scheduler Exponental. Did you mean Exponential (from ptycho-cli and ptycho-thief)?",
        "$PTYCHO_TRAINING__BATCH_SIZ: there is no setting 'training.batch_siz'."
        " Did you mean PTYCHO_TRAINING__BATCH_SIZE?",
        "$PTYCHO_LOSS__NAME: loss.name is poison, expected poisson, amplitude or object. Did you mean poisson?",
        "--set (argument 1): there is no setting 'model.widht'. Did you mean model.options.width?",
        "--devices (argument 3): execution.devices is 0, expected a whole number, at least 1.",
        "--set (argument 5): --set nonsense has no value",
    ):
        assert expected in text
    assert len(found) == 8


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.accumulate_grad_batches", "0", "expected a whole number, at least 1"),
        ("training.accumulate_grad_batches", "-2", "expected a whole number, at least 1"),
        ("optimizer.learning_rate", "nan", "expected a number, above 0"),
        ("optimizer.learning_rate", "inf", "expected a number, above 0"),
        ("optimizer.learning_rate", "fast", "expected a number, above 0"),
        ("data.validation_fraction", "0.5", "expected a number, at least 0, below 0.5"),
        ("physics.alpha", "0", "expected a number, above 0, or auto"),
        ("execution.deterministic", "maybe", "expected true or false"),
        ("data.max_frames", "0", "expected a whole number, at least 1, or null"),
    ],
)
def test_the_message_on_a_bad_value_has_what_was_expected(
    key: str, value: str, expected: str, catalogue: Catalogue
) -> None:
    line = one_problem([typed("--set", f"{key}={value}")], catalogue)

    assert line.startswith(f"--set (argument 1): {key} is {value}, {expected}.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training:\n  epochs: 3\n  epochs: 4\n", "run.yaml:3: training.epochs is given twice, first at"),
        ("training: {epochs: 3}\ntraining.epochs: 4\n", "run.yaml:2: training.epochs is given twice"),
        ("training:\n  <<: {epochs: 3}\n", "run.yaml:2: merge keys (<<) are not read"),
        ("a: &a {epochs: 3}\ntraining:\n  <<: *a\n", "run.yaml:3: aliases (*) are not read"),
        (f"a: {'[' * 40}{']' * 40}\n", "run.yaml:1: more than 32 lists or mappings inside each other are not read"),
        ("training:\n  epochs: '3'\n", "run.yaml:2: training.epochs is the text '3', expected a whole number"),
        ("training:\n  epochs: 1:30\n", "run.yaml:2: training.epochs is 1:30, expected a whole number"),
        ("training:\n  epochs: [3, 4]\n", "run.yaml:2: training.epochs is 3, 4, expected a whole number"),
        ("training:\n  epochs:\n    of: 3\n", "run.yaml:2: training.epochs has settings below it, expected one value"),
        ("training: 5\n", "run.yaml:1: training is a group of settings, expected `key: value` lines"),
        ("training:\n  output_dir: !!python/name:os.system x\n", "run.yaml:2: training.output_dir has the YAML tag"),
        ("- a\n- b\n", "run.yaml:1: expected `key: value` lines"),
        ("training:\n\tepochs: 3\n", "run.yaml:2: not valid YAML"),
        ("a: b: c\n", "run.yaml:1: not valid YAML"),
        ("", "run.yaml: the file has no settings"),
        ("# only a remark\n", "run.yaml: the file has no settings"),
        ("---\na: 1\n---\nb: 2\n", "run.yaml:3: not valid YAML"),
        ("logger:\n  csv: 1\n", "run.yaml:1: there is no setting 'logger'. Did you mean execution.logger?"),
        (
            "execution:\n  logger: off\n",
            "run.yaml:2: execution.logger is off, expected a list, each csv, tensorboard, mlflow, wandb or none.",
        ),
    ],
)
def test_an_ambiguous_or_wrong_file_is_refused_with_the_line(
    text: str, expected: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    lines = problems_of([from_file(tmp_path, text)], catalogue)

    assert any(expected in line for line in lines), lines


def test_values_in_a_file_are_read_as_they_are_written(tmp_path: Path, catalogue: Catalogue) -> None:
    text = (
        "optimizer:\n  learning_rate: 1e-3\nexecution:\n  deterministic: off\ntraining:\n  output_dir: 2024-01-01\n"
        "  n_groups: null\n  seed: 010\nscheduler:\ndata:\n  paths: a.h5\n  validation_paths: [b.h5, 'c d.h5']\n"
    )

    config = resolve([from_file(tmp_path, text)], catalogue).config

    assert config.optimizer.learning_rate == 1e-3
    assert config.execution.deterministic is False
    assert config.training.output_dir == "2024-01-01"
    assert config.training.n_groups is None
    assert config.training.seed == 10
    assert config.data.paths == ("a.h5",)
    assert config.data.validation_paths == ("b.h5", "c d.h5")


def test_a_missing_settings_file_is_a_problem_with_its_path(tmp_path: Path, catalogue: Catalogue) -> None:
    line = one_problem([file_layer(tmp_path / "none.yaml")], catalogue)

    assert f"{tmp_path / 'none.yaml'}: cannot read the settings: No such file or directory" in line


def test_a_settings_file_that_is_no_text_is_a_problem(tmp_path: Path, catalogue: Catalogue) -> None:
    path = tmp_path / "scan.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff")

    assert "not text in UTF-8" in one_problem([file_layer(path)], catalogue)


def test_other_ptycho_variables_get_a_warning_and_reserved_ones_none(catalogue: Catalogue) -> None:
    environ = {
        "PTYCHO_TRAINING_EPOCHS": "3",
        "PTYCHO_LOSS": "poisson",
        "PTYCHO_NO_PLUGINS": "1",
        "PTYCHO_TEST_DATA": "x",
        "HOME": "/",
    }

    resolved = resolve([environment_layer(environ)], catalogue)

    assert resolved.warnings == (
        "$PTYCHO_LOSS names a group of settings and has no effect. It has"
        f" {', '.join(key.env for key in keys_of('loss'))}.",
        "$PTYCHO_TRAINING_EPOCHS is not a setting and has no effect. Did you mean PTYCHO_TRAINING__EPOCHS?",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--scheduler", "MultiStage", "--loss", "amplitude"), "the stages of MultiStage lead to the Poisson"),
        (("--checkpoint-save-top-k", "0"), "checkpoint.save_top_k is 0, which keeps no checkpoint"),
        (("--set", "data.validation_fraction=0"), "checkpoint.monitor is val_loss, but there is no validation data"),
        (
            ("--set", "data.validation_fraction=0", "--checkpoint-monitor", "train_loss", "--scheduler",
             "reducelronplateau"),
            "ReduceLROnPlateau monitors val_loss, but there is no validation data",
        ),
        (
            ("--set", "checkpoint.enabled=false", "--checkpoint-save-top-k", "3"),
            "checkpoint.save_top_k has no effect: checkpoints are off (--set (argument 1))",
        ),
    ],
)  # fmt: skip
def test_a_contradiction_between_settings_is_refused(
    arguments: tuple[str, ...], expected: str, catalogue: Catalogue
) -> None:
    assert expected in one_problem([typed(*arguments)], catalogue)


def test_validation_files_make_val_loss_possible(catalogue: Catalogue) -> None:
    resolve([typed("--set", "data.validation_fraction=0", "--val-data", "v.h5")], catalogue)


def test_paths_are_checked_without_reading_them(tmp_path: Path, catalogue: Catalogue) -> None:
    empty, full = tmp_path / "empty.h5", tmp_path / "runs"
    empty.touch()
    full.mkdir()
    (full / "run.json").touch()
    layer = typed("DATA", "missing.h5", "DATA", str(empty), "DATA", str(tmp_path), "--output-dir", str(full))
    resolved = resolve([layer], catalogue)

    lines = [str(item) for item in check_paths(resolved, force=False)]

    assert lines == [
        "DATA (argument 1): missing.h5: no such file, expected a scan file.",
        f"DATA (argument 1): {empty}: the file is empty, expected a scan file.",
        f"DATA (argument 1): {tmp_path}: this is a folder, expected a scan file.",
        f"--output-dir (argument 7): {full}: the folder is not empty."
        " Choose another folder, or replace what is in it with --force.",
    ]
    assert len(check_paths(resolved, force=True)) == 3


def test_a_scan_that_is_named_twice_is_a_problem(tmp_path: Path, catalogue: Catalogue) -> None:
    """Validation on training data would not detect fitted noise."""
    scan, same = tmp_path / "scan.h5", tmp_path / "same.h5"
    scan.write_text("x")
    same.symlink_to(scan)
    resolved = resolve([typed("DATA", str(scan), "--val-data", str(same), "-o", str(tmp_path / "run"))], catalogue)

    (line,) = [str(item) for item in check_paths(resolved, force=False)]

    assert line.startswith(f"--val-data (argument 3): {same}: named twice among the scans to train and validate on.")


def test_train_needs_data_and_a_folder_and_inspection_does_not(tmp_path: Path, catalogue: Catalogue) -> None:
    resolved = resolve([], catalogue)

    assert check_paths(resolved, force=False, command="inspect-config") == ()
    assert [item.key for item in check_paths(resolved, force=False)] == ["data.paths", "training.output_dir"]


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "file").write_text("x")
    resolved = resolve([typed("-o", str(tmp_path / "file" / "run"))], catalogue)

    (problem,) = check_paths(resolved, force=False, command="inspect-config")

    assert "is a file, so nothing can be made in it" in problem.message


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("scheduler=Exponential", "It has scheduler.name."),
        ("loss=poisson", f"It has {', '.join(key.name for key in keys_of('loss'))}."),
        ("model.options=3", "Use --network-option NAME=VALUE."),
        ("callbacks=Preview", "Use --callback NAME."),
    ],
)
def test_a_group_in_place_of_a_setting_gets_the_settings_of_the_group(
    argument: str, hint: str, catalogue: Catalogue
) -> None:
    """The hint was 'there is no setting 'scheduler'. Did you mean scheduler?'."""
    found = one_problem([typed("--set", argument)], catalogue)

    group = argument.partition("=")[0]
    assert found == f"--set (argument 1): {group} is a group of settings, expected one of them. {hint}"
