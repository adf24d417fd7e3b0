"""Each kind of layer, made as the program makes it: its rank, its place, and how to switch it off."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.earlier_run import USES, checkpoint_layer, run_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.keys import keys
from ptycho_cli.config.presets import PRESETS, preset_layer
from ptycho_cli.config.provenance import Layer, Source
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.sources import environment_layer, library_layer, user_file, user_file_layer

KEY = "training.epochs"
DEFAULT = keys()[KEY].default
QUICK = dict(PRESETS[0].settings)[KEY]
Make = Callable[[Path], Layer]


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def own_file(folder: Path) -> Layer:
    path = written(folder / "own.yaml", "training:\n  epochs: 33\n")
    layer = user_file_layer({"PTYCHO_USER_FILE": str(path)})
    assert layer is not None
    return layer


# Weakest first; each sets another number of epochs, at its place.
LAYERS: list[tuple[Make, int, str]] = [
    (lambda folder: checkpoint_layer({"training": {"epochs": 31}}, "star"), 31, "checkpoint star"),
    (lambda folder: preset_layer("quick", "--preset (argument 2)"), QUICK, "preset quick"),
    (own_file, 33, "{folder}/own.yaml:2"),
    (lambda folder: run_layer({"training": {"epochs": 34}}, "moon"), 34, "run moon"),
    (lambda folder: file_layer(written(folder / "run.yaml", "training.epochs: 35\n")), 35, "{folder}/run.yaml:1"),
    (lambda folder: environment_layer({"PTYCHO_TRAINING__EPOCHS": "36"}), 36, "$PTYCHO_TRAINING__EPOCHS"),
    (lambda folder: library_layer({"epochs": 37}), 37, "argument epochs"),
    (lambda folder: command_line_layer([Typed("--epochs", "38", 4)]), 38, "--epochs (argument 4)"),
]


def provenance(resolved: Any, key: str = KEY) -> list[tuple[object, str]]:
    decision = resolved.decision(key)
    return [(item.value, item.origin) for item in (decision.winner, *decision.overridden)]


@pytest.mark.parametrize(("weaker", "stronger"), list(pairwise(LAYERS)), ids=lambda layer: layer[2])
def test_a_layer_overrides_its_neighbour_and_both_are_named(
    weaker: tuple[Make, int, str], stronger: tuple[Make, int, str], tmp_path: Path, catalogue: Catalogue
) -> None:
    resolved = resolve([weaker[0](tmp_path), stronger[0](tmp_path)], catalogue)

    expected = [(value, origin.format(folder=tmp_path)) for _, value, origin in (stronger, weaker)]
    assert provenance(resolved) == [*expected, (DEFAULT, "default")]


def test_a_decision_lists_the_settings_of_all_layers(tmp_path: Path, catalogue: Catalogue) -> None:
    resolved = resolve([make(tmp_path) for make, _, _ in LAYERS], catalogue)

    expected = [(value, origin.format(folder=tmp_path)) for _, value, origin in reversed(LAYERS)]
    assert provenance(resolved) == [*expected, (DEFAULT, "default")]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_preset_resolves_to_its_settings_and_has_a_purpose(preset: Any) -> None:
    from ptycho_cli.extend.host import load_plugins

    catalogue = load_plugins((), environment={"PTYCHO_NO_PLUGINS": "1"}).catalogue()
    resolved = resolve([preset_layer(preset.name, "--preset")], catalogue)

    decided = {item.key: item.winner for item in resolved.decisions if item.is_decided}
    stop = decided.pop("training.stop", None)  # a length or a schedule that is set is trained to its end
    assert stop is None or stop.value == "never"
    # as text, for a number of steps becomes a length
    assert {key: str(item.value) for key, item in decided.items()} == {key: str(v) for key, v in preset.settings}
    assert {item.origin for item in decided.values()} == {f"preset {preset.name}"}
    assert all(item.winner.value != item.overridden[-1].value for item in resolved.decisions if item.key in decided)
    assert preset.when.endswith((".", "?"))
    assert preset.effect.endswith(".")


@pytest.mark.parametrize("preset", ["quick", "large-scan", "low-dose"])
def test_a_preset_without_effect_on_a_trained_run_is_refused(preset: str) -> None:
    """Its settings of training have no effect, and its network and physics are fixed."""
    (problem,) = preset_layer(preset, "--preset", USES["infer"]).problems

    assert f"the preset {preset} has no effect when a trained run is used" in str(problem)


def test_options_for_a_scheduler_that_is_overridden_are_ignored_with_a_warning(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    own = file_layer(
        written(tmp_path / "own.yaml", "scheduler:\n  name: Exponential\n  options:\n    gamma: 0.5\n"),
        Source.USER_FILE,
    )
    other = command_line_layer([Typed("--scheduler", "Default", 2)])

    assert resolve([own], catalogue).config.scheduler.options.model_dump()["gamma"] == 0.5
    resolved = resolve([own, other], catalogue)

    assert resolved.config.scheduler.options.model_dump() == {}
    assert "scheduler.options.gamma of" in resolved.warnings[0]
    assert "is ignored: --scheduler (argument 2) chooses Default in place of Exponential." in resolved.warnings[0]


def test_the_environment_locates_the_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home = tmp_path / ".config" / "ptycho" / "config.yaml"

    assert user_file({}).path == str(at_home)
    assert user_file({}).shown == "~/.config/ptycho/config.yaml"
    assert user_file({"XDG_CONFIG_HOME": "/etc/x"}).path == "/etc/x/ptycho/config.yaml"
    assert user_file({"XDG_CONFIG_HOME": "relative"}).path == str(at_home)
    assert user_file({"PTYCHO_USER_FILE": "mine.yaml"}).path == "mine.yaml"
    assert user_file({"PTYCHO_USER_FILE": ""}).path is None
    assert user_file_layer({}) is None
    assert user_file_layer({"PTYCHO_USER_FILE": ""}) is None


def test_a_users_file_may_be_empty_but_a_named_one_must_exist(tmp_path: Path) -> None:
    own = written(tmp_path / "own.yaml", "# training:\n#   epochs: 3\n")
    layer = user_file_layer({"PTYCHO_USER_FILE": str(own)})
    assert layer == Layer(Source.USER_FILE)

    lost = user_file_layer({"PTYCHO_USER_FILE": str(tmp_path / "lost.yaml")})
    assert lost is not None
    assert "cannot read the settings: No such file" in lost.problems[0].message


def report(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    got = main(["inspect-config", *arguments, "--json"])
    out, err = capsys.readouterr()
    assert got == code, err
    printed: dict[str, Any] = json.loads(out)
    return printed


def origins(printed: dict[str, Any], key: str) -> list[str]:
    decision = next(item for item in printed["decisions"] if item["key"] == key)
    return [decision["origin"], *(item["origin"] for item in decision["overridden"])]


def test_files_and_earlier_runs_rank_in_the_order_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "run.yaml", "training:\n  epochs: 3\n")
    first = report(capsys, "--epochs", "4", "--seed", "5", "-o", "star")
    (tmp_path / "star").mkdir()
    (tmp_path / "star" / "run.json").write_text(json.dumps(first))

    late = report(capsys, "-c", "run.yaml", "--from-run", "star")
    assert origins(late, KEY) == ["run star", "run.yaml:2", "default"]
    early = report(capsys, "--from-run", "star", "--config=run.yaml")
    assert origins(early, KEY) == ["run.yaml:2", "run star", "default"]
    assert origins(early, "training.output_dir") == ["default"]  # a new run needs another folder
    assert {item["source"] for item in early["decisions"]} == {"run file", "default"}

    main(["inspect-config", "--from-run", "star"])
    table = capsys.readouterr().out
    assert "training.seed" in table
    assert "training.batch_size" not in table  # the value of the run is the default

    lost = report(capsys, "--from-run", "nowhere", "--preset", "quik", code=2)
    assert [item["origin"] for item in lost["problems"]] == ["--preset (argument 4)", "--from-run (argument 2)"]
    assert "Did you mean quick?" in lost["problems"][0]["hint"]


def test_the_users_file_is_read_unless_it_is_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PTYCHO_USER_FILE", "own.yaml")
    written(tmp_path / "own.yaml", "training:\n  epochs: 3\n")

    printed = report(capsys, "--preset", "quick")
    assert origins(printed, KEY) == ["own.yaml:2", "preset quick", "default"]
    assert next(item for item in printed["decisions"] if item["key"] == KEY)["source"] == "user-file"
    assert origins(report(capsys, "--no-user-file"), KEY) == ["default"]

    assert main(["config", "user-file"]) == 0
    assert "training.epochs = 3 (line 2)" in capsys.readouterr().out


def test_a_new_users_file_is_written_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert main(["config", "init", "--user"]) == 0
    path = tmp_path / "ptycho" / "config.yaml"
    assert path.exists()
    assert main(["config", "init", "--user"]) == 2
    path.write_text(path.read_text().replace("# training:", "training:").replace("#   epochs:", "  epochs:"))
    assert origins(report(capsys), KEY) == [
        f"{path}:{path.read_text().splitlines().index('  epochs: 6') + 1}",
        "default",
    ]


def test_the_presets_are_listed_with_what_they_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "presets"]) == 0
    text = capsys.readouterr().out
    for preset in PRESETS:
        assert f"\n{preset.name}\n" in f"\n{text}"
        assert all(f"  {key} = " in text for key, _ in preset.settings)
    assert "\\n" not in text  # paragraphs are folded into lines

    assert main(["config", "presets", "--json"]) == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)] == [preset.name for preset in PRESETS]
