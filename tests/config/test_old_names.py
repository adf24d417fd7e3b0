"""Command lines of PtychoPINN still run: old name, new key, precedence and warning."""

from __future__ import annotations

import pytest

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import OLD_NAMES, Typed, command_line_layer
from ptycho_cli.config.provenance import ProblemsError, Resolved
from ptycho_cli.config.resolve import resolve

MATRIX = [
    ("--train_data_file", "scan.npz", "data.paths", ("scan.npz",)),
    ("--test_data_file", "val.npz", "data.validation_paths", ("val.npz",)),
    ("--output_dir", "runs/x", "training.output_dir", "runs/x"),
    ("--max_epochs", "7", "training.epochs", 7),
    ("--n_images", "64", "training.n_groups", 64),
    ("--gridsize", "2", "data.group_size", 4),
    ("--batch_size", "4", "training.batch_size", 4),
    ("--device", "cpu", "execution.accelerator", "cpu"),
    ("--device", "cuda", "execution.accelerator", "gpu"),
    ("--disable_mlflow", True, "execution.logger", ("none",)),
    ("--torch-loss-mode", "poisson", "loss.name", "poisson"),
    ("--torch-loss-mode", "mae", "loss.name", "amplitude"),
]


def run(catalogue: Catalogue, *typed: Typed) -> Resolved:
    return resolve([command_line_layer(typed)], catalogue)


@pytest.mark.parametrize(("flag", "value", "key", "expected"), MATRIX)
def test_an_old_name_sets_its_new_key_and_warns_once(
    flag: str, value: object, key: str, expected: object, catalogue: Catalogue
) -> None:
    resolved = run(catalogue, Typed(flag, value, 4))

    assert resolved.decision(key).winner.value == expected
    assert resolved.decision(key).winner.origin == f"{flag} (argument 4)"
    assert len(resolved.warnings) == 1
    assert resolved.warnings[0].startswith(f"{flag} is an old name; use ")


def test_every_old_name_is_in_the_matrix() -> None:
    assert {old.flag for old in OLD_NAMES} == {row[0] for row in MATRIX}


def test_new_names_get_no_warning(catalogue: Catalogue) -> None:
    assert run(catalogue, Typed("--accelerator", "cpu", 1)).warnings == ()


@pytest.mark.parametrize("new", [Typed("--accelerator", "gpu", 1), Typed("--set", "execution.accelerator=gpu", 1)])
def test_the_new_name_overrides_the_old_one_in_any_order(new: Typed, catalogue: Catalogue) -> None:
    for typed in ((new, Typed("--device", "cpu", 3)), (Typed("--device", "cpu", 0), new)):
        resolved = run(catalogue, *typed)

        assert resolved.config.execution.accelerator == "gpu"
        assert "--device has no effect" in resolved.warnings[0]


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--gridsize", "two", "--gridsize is two, expected a whole number"),
        ("--device", "tpu", "--device is tpu, expected cpu or cuda."),
        ("--torch-loss-mode", "mse", "--torch-loss-mode is mse, expected poisson or mae."),
        ("--max_epochs", "0", "training.epochs is 0, expected a whole number, at least 1."),
    ],
)
def test_a_bad_old_value_is_refused_at_its_place(flag: str, value: str, expected: str, catalogue: Catalogue) -> None:
    with pytest.raises(ProblemsError, match="argument 2") as caught:
        run(catalogue, Typed(flag, value, 2))

    assert expected in "\n".join(f"{item.message}." for item in caught.value.problems)
