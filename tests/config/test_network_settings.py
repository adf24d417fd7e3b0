"""The network and its options are settings like any other: every layer can set them, and a checkpoint fixes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.earlier_run import checkpoint_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.provenance import Layer, ProblemsError, Resolved, Setting, Source
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.serialize import config_to_json
from ptycho_cli.config.sources import environment_layer, library_layer
from ptycho_cli.extend.host import load_plugins


def typed(*arguments: str) -> Layer:
    return command_line_layer([Typed(arguments[i], arguments[i + 1], i + 1) for i in range(0, len(arguments), 2)])


def refused(layers: list[Layer], catalogue: Catalogue, command: str = "train") -> str:
    with pytest.raises(ProblemsError) as caught:
        resolve(layers, catalogue, command=command)
    return str(caught.value)


def options(resolved: Resolved) -> dict[str, Any]:
    return resolved.config.model.options.model_dump()


def test_an_option_can_be_set_in_every_layer(catalogue: Catalogue, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model:\n  name: UNROLLED\n  options:\n    width: 10\n")
    layers = [
        file_layer(path),
        environment_layer({"PTYCHO_MODEL__OPTIONS__WIDTH": "11"}),
        library_layer({"network_options": {"width": 12}}),
        typed("--network-option", "width=13", "--set", "model.options.width=14"),
    ]

    resolved = resolve(layers, catalogue)

    assert options(resolved) == {"stages": 8, "width": 14}
    decision = resolved.decision("model.options.width")
    assert [(item.value, item.origin) for item in (decision.winner, *decision.overridden)] == [
        (14, "--set (argument 3)"),
        (13, "--network-option (argument 1)"),
        (12, "argument network_options"),
        (11, "$PTYCHO_MODEL__OPTIONS__WIDTH"),
        (10, f"{path}:4"),
        (24, "default"),
    ]


def test_wrong_names_options_and_old_keys_are_refused_with_a_hint(catalogue: Catalogue) -> None:
    text = refused([typed("--network", "unroled")], catalogue)
    assert "there is no network unroled. Did you mean unrolled (from ptycho-cli)?" in text
    text = refused([typed("--network-option", "gain=2")], catalogue)
    assert "model.options.gain has no effect: unrolled has no option 'gain'." in text
    assert "scatter would take it." in text
    text = refused([typed("--network-option", "stags=2")], catalogue)
    assert "Did you mean stages?" in text
    text = refused([typed("--network-option", "width=0")], catalogue)
    assert "model.options.width is 0, expected a whole number, at least 1." in text
    for old, new in (("model.width", "model.options.width"), ("model.alpha", "physics.alpha")):
        assert f"there is no setting '{old}'. Did you mean {new}?" in refused([typed("--set", f"{old}=1")], catalogue)
        variable = "PTYCHO_" + old.upper().replace(".", "__")
        text = refused([environment_layer({variable: "1"})], catalogue)
        assert f"Did you mean PTYCHO_{new.upper().replace('.', '__')}?" in text


def test_what_infer_reads_from_the_checkpoint_cannot_be_changed(catalogue: Catalogue) -> None:
    run = resolve([typed("--network", "scatter", "--network-option", "gain=2")], catalogue)
    checkpoint = checkpoint_layer(config_to_json(run.config), "runs/star", command="infer")

    assert resolve([checkpoint], catalogue, command="infer").config.model == run.config.model
    same = typed("--set", "model.options.gain=2")
    assert resolve([checkpoint, same], catalogue, command="infer").config.model == run.config.model
    text = refused([checkpoint, typed("--set", "model.options.gain=3")], catalogue, "infer")
    assert "model.options.gain cannot be 3: checkpoint runs/star fixes it to 2." in text
    text = refused([checkpoint, typed("--set", "model.name=unrolled")], catalogue, "infer")
    assert "model.name cannot be unrolled: checkpoint runs/star fixes it to scatter" in text


def test_a_run_whose_network_is_not_installed_is_named(catalogue: Catalogue) -> None:
    setting = Setting("gone", Source.CHECKPOINT, "checkpoint runs/star")

    text = refused([Layer(Source.CHECKPOINT, (("model.name", setting),))], catalogue, "infer")

    assert text.startswith("checkpoint runs/star: there is no network gone.")


def test_an_option_of_another_network_is_told_before_one_with_a_like_name() -> None:
    """``physics_stages`` is like ``stages``, but nobody mistyped it."""
    text = refused([typed("--network-option", "physics_stages=8")], load_plugins(()).catalogue())

    assert "refiner would take it." in text
    assert "Did you mean" not in text
