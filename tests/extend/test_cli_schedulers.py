"""The output and exit codes of ``ptycho schedulers`` and ``ptycho plugins``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.extend.import_check import import_cost

MakePlugin = Callable[..., Path]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_shows_every_scheduler_with_its_options_and_who_offers_it(
    capsys: pytest.CaptureFixture[str], make_plugin: MakePlugin
) -> None:
    make_plugin("ptycho-mine", version="2.5")

    code, out, _ = run(capsys, "schedulers", "list")
    found = json.loads(run(capsys, "schedulers", "list", "--json")[1])

    assert code == 0
    assert "ptycho-mine 2.5" in out
    assert "gamma=0.95" in out
    assert [item["name"] for item in found][-2:] == ["ReduceLROnPlateau", "Mine"]
    assert found[1]["options"][1] == {
        "name": "every",
        "required": False,
        "default": "1ep",
        "allowed": "steps, ep or %",
        "description": "Interval between two multiplications; 1 multiplies at every optimizer step.",
    }


def test_show_gives_the_closed_form_at_every_optimizer_step(capsys: pytest.CaptureFixture[str]) -> None:
    """With accumulation 4, 20 batches per epoch are 5 optimizer steps, and so are 18."""
    words = ["schedulers", "show", "Exponential", "--epochs", "50", "--accumulate-grad-batches", "4", "--json"]

    for batches in ("20", "18"):
        report = json.loads(run(capsys, *words, "--steps-per-epoch", batches)[1])
        assert (report["total_steps"], report["steps_per_epoch"]) == (250, 5)
        assert report["option_steps"] == {"every": 5}
        assert report["learning_rate"] == pytest.approx([2e-3 * 0.95 ** (t // 5) for t in range(250)], rel=1e-12)


def test_show_takes_options_and_base_rate_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["schedulers", "show", "exponential", "--epochs", "2", "--steps-per-epoch", "2", "--learning-rate", "1"]

    _, out, _ = run(capsys, *words, "--scheduler-option", "gamma=0.5", "--scheduler-option", "every=1")
    text = run(capsys, *words, "--scheduler-option", "gamma=0.5", "--scheduler-option", "every=1", "--json")[1]

    assert json.loads(text)["learning_rate"] == [1.0, 0.5, 0.25, 0.125]
    assert "4 optimizer steps: 2 epochs of 2 optimizer steps from 2 batches." in out
    assert "first step 1, last step 0.125" in out
    assert "gamma *" in out


def test_show_draws_the_loss_weight_of_a_staged_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["schedulers", "show", "MultiStage", "--epochs", "10", "--steps-per-epoch", "10"]

    weights = json.loads(run(capsys, *words, "--json")[1])["loss_weight"]

    assert weights[0] == weights[40] == 0.0
    assert weights[55] == pytest.approx(0.5)
    assert weights[70] == weights[99] == 1.0
    assert "weight of the Poisson likelihood in the loss" in run(capsys, *words)[1]


@pytest.mark.parametrize("columns", [80, 120])
def test_show_and_list_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    shown = run(capsys, "schedulers", "show", "Adaptive")[1].splitlines()
    listed = run(capsys, "schedulers", "list")[1].splitlines()

    assert max(map(len, shown + listed)) <= columns
    assert max(map(len, shown)) == columns  # the table fills the width
    assert not [line for line in shown + listed if "…" in line]


def test_show_states_the_loss_that_a_plateau_was_drawn_for(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "schedulers", "show", "ReduceLROnPlateau", "--epochs", "9")[1]

    assert "Drawn for a val_loss that does not improve after the first epoch." in out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["Exponentail"], ["there is no scheduler Exponentail", "Exponential", "ptycho-cli"]),
        (["Exponential", "--scheduler-option", "gama=1"], ["Exponential has no option 'gama'", "Did you mean gamma?"]),
        (["Exponential", "--scheduler-option", "gamma=2"], ["scheduler.options.gamma is 2", "at most 1"]),
        (["Exponential", "--scheduler-option", "every=soon"], ["'soon' is not a length; expected optimizer steps"]),
        (["Exponential", "--scheduler-option", "gamma"], ["--scheduler-option 'gamma': expected KEY=VALUE"]),
        (["MultiStage", "--scheduler-option", "stage_1=90%"], ["stage_1 90% and stage_2 30% are more than the whole"]),
        (["MultiStage", "--scheduler-option", "stage_1=999", "--epochs", "2"], ["are longer than the training of 40"]),
        (
            ["WarmupCosine", "--scheduler-option", "warmup=999", "--epochs", "2"],
            ["than the 40 steps of"],
        ),
        (["ReduceLROnPlateau", "--learning-rate", "1e-6"], ["min_lr: 5e-05 is not below the learning rate 1e-06"]),
    ],
)
def test_a_mistake_gets_one_error_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]
) -> None:
    code, out, err = run(capsys, "schedulers", "show", *words)

    assert code == 2
    assert out == ""
    assert err.count("error:") == 1
    for part in parts:
        assert part in err


def test_save_writes_a_picture_and_never_over_another_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "curves" / "curve.png"
    words = ["schedulers", "show", "Adaptive", "--epochs", "4", "--save", str(target)]

    assert run(capsys, *words)[0] == 0
    assert target.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "exists already" in err
    assert run(capsys, *words, "--force")[0] == 0
    assert [path.name for path in target.parent.iterdir()] == ["curve.png"]


def test_a_failing_build_is_attributed_to_its_plugin(
    capsys: pytest.CaptureFixture[str], make_plugin: MakePlugin
) -> None:
    path = make_plugin("ptycho-mine", version="2.5")
    path.write_text(path.read_text().replace("    return Schedule(", "    1 / 0\n    return Schedule("))

    code, _, err = run(capsys, "schedulers", "show", "Mine")

    assert code == 2
    assert "scheduler 'Mine' (ptycho-mine 2.5) failed in build: ZeroDivisionError: division by zero." in err


def test_plugins_list_names_the_failed_and_the_blocked(
    capsys: pytest.CaptureFixture[str], make_plugin: MakePlugin
) -> None:
    make_plugin("ptycho-broken", "raise RuntimeError('no licence')", version="3.0")
    make_plugin("ptycho-other", offers="Other")

    code, out, _ = run(capsys, "plugins", "list", "--no-plugin", "ptycho-other")
    found = json.loads(run(capsys, "plugins", "list", "--no-plugin", "ptycho-other", "--json")[1])

    assert code == 0
    assert "plugin ptycho-broken 3.0 (mine) was left out: importing it failed: RuntimeError: no licence." in out
    assert [item["status"] for item in found] == ["loaded", "failed", "blocked"]
    assert found[1]["error"] == "importing it failed: RuntimeError: no licence"


def test_plugins_check_passes_a_valid_plugin(capsys: pytest.CaptureFixture[str], make_plugin: MakePlugin) -> None:
    assert run(capsys, "plugins", "check")[0] == 0
    make_plugin("ptycho-mine")

    code, out, _ = run(capsys, "plugins", "check")
    report = json.loads(run(capsys, "plugins", "check", "--json")[1])

    assert code == 0
    assert "ptycho-mine 1.0 (mine): ok" in out
    assert report["ok"] is True


def test_plugins_check_finds_slow_imports_misspelt_hooks_and_other_contracts(
    capsys: pytest.CaptureFixture[str], make_plugin: MakePlugin
) -> None:
    slow = make_plugin("ptycho-slow", offers="Slow")
    slow.write_text("import numpy\n" + slow.read_text())
    spelt = make_plugin("ptycho-spelt", offers="Spelt")
    spelt.write_text(spelt.read_text().replace("def ptycho_schedulers", "def ptycho_scheduler"))
    newer = make_plugin("ptycho-newer", offers="Newer")
    newer.write_text(newer.read_text().replace("api = 1", "api = 2"))

    code, out, _ = run(capsys, "plugins", "check")
    report = json.loads(run(capsys, "plugins", "check", "--json")[1])

    assert code == 2
    assert "ptycho-slow 1.0 (slow): it imports numpy at module level, which slows every command." in out
    assert "it implements the unknown hook 'ptycho_scheduler'. Did you mean 'ptycho_schedulers'?" in out
    assert "it was written for plugin API 2, this program has 1. Upgrade ptycho-cli." in out
    assert report["ok"] is False
    assert [len(item["problems"]) for item in report["plugins"]] == [1, 1, 1]


def test_plugins_check_finds_clashes(capsys: pytest.CaptureFixture[str], make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-one")
    make_plugin("ptycho-two", version="0.9")

    code, out, _ = run(capsys, "plugins", "check")

    assert code == 2
    assert "ptycho-two 0.9 offers the scheduler Mine too. Users must type ptycho-one:Mine." in out
    assert "ptycho-one 1.0 offers the scheduler Mine too. Users must type ptycho-two:Mine." in out


@pytest.mark.parametrize("module", ["plugin_commands", "scheduler_commands"])
def test_the_commands_themselves_import_nothing_heavy(module: str) -> None:
    assert import_cost(f"ptycho_cli.cli.{module}").heavy == ()
