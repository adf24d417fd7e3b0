"""The program as a whole: its commands, its errors and its exit codes."""

from __future__ import annotations

import gc
import importlib
import itertools

import pytest

from ptycho_cli.cli import app
from ptycho_cli.cli.app import main
from ptycho_cli.cli.commands import COMMANDS
from ptycho_cli.errors import InterruptedRunError, PtychoError, TrainingError


def test_every_command_stands_in_the_help_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, (_, summary) in COMMANDS.items():
        assert f"{name} {summary}" in text


@pytest.mark.parametrize("command", ["infer", "compare"])
def test_help_shows_only_what_has_an_effect_on_a_trained_run(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0

    text = capsys.readouterr().out
    assert all(flag in text for flag in ("--accelerator", "--precision", "--polish", "Scan file to reconstruct."))
    absent = ("--num-nodes", "--num-workers", "deterministic", "--logger", "to train on")
    assert not [name for name in absent if name in text]
    assert ("--devices" in text) == (command == "infer")  # divides the frames of one reconstruction


@pytest.mark.parametrize("words", [["infer"], ["compare"], ["evaluate"], ["simulate"], ["data", "check"]])
def test_help_fills_its_lines_and_names_no_type_of_a_switch_or_an_argument(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines were broken where the source breaks them, and again where the terminal ends."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--help"]) == 0

    text = capsys.readouterr().out
    assert "<bool>" not in text
    assert not [line for line in text.partition("Arguments")[2].split("╰")[0].splitlines() if "<" in line]
    lines = [line.strip() for line in text.split("╭")[0].splitlines()]
    for line, following in itertools.pairwise(lines):
        assert not (line and following) or len(line) + len(following.split()[0]) + 1 > 78


def test_an_unknown_command_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "error: No such command 'trian'. Did you mean 'train'?\nTry `ptycho --help`.\n"


def test_a_command_that_is_a_setting_is_refused_with_the_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "crop", "scan.h5"]) == 2
    assert "`ptycho data convert SCAN -o OUT.h5 --set data.crop_px=VALUE` does that." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "a.h5", "--refine-position"], "No such option: --refine-position. Did you mean --refine-positions?"),
        (
            ["infer", "run", "a.h5", "--refine-positions"],
            "--refine-positions is not an option of this command; it sets physics.refine_positions in `ptycho train`.",
        ),
        (
            ["compare", "run", "a.h5", "--untrained"],
            "--untrained is not an option of this command; it sets inference.untrained in `ptycho infer`.",
        ),
        (["infer", "run", "a.h5", "--mask", "b.h5"], "No such option: --mask. Use --set data.mask=VALUE."),
        (["train", "a.h5", "--probe", "b.h5:p"], "No such option: --probe. Use --set data.probe=VALUE."),
        (["config", "--diff", "run"], "No such option: --diff. `ptycho inspect-config` has this option."),
        (["train", "a.h5", "--truth", "b.h5"], "No such option: --truth. `ptycho evaluate` has this option."),
        (["inspect-config", "--explain", "training.epoch"], "there is no setting 'training.epoch' here."),
        (["config", "explain", "nothing.at.all"], "there is no setting 'nothing.at.all'."),
    ],
)
def test_a_mistyped_name_is_answered_with_what_was_meant_alone(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2

    error, way_out = capsys.readouterr().err.splitlines()
    assert error == f"error: {message}"
    hints = {"--explain": "hint: Did you mean training.epochs?"}
    hints["explain"] = "hint: `ptycho inspect-config --show all` lists all settings."
    assert way_out == hints.get(words[1], f"Try `ptycho {words[0]} --help`.")


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: ptycho" in "".join(capsys.readouterr())


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    import ptycho_cli

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ptycho {ptycho_cli.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (PtychoError("a.h5: empty.", hint="Give another."), 2, "error: a.h5: empty.\nhint: Give another.\n"),
        (TrainingError("The loss is not finite."), 3, "error: The loss is not finite.\n"),
        (InterruptedRunError("Stopped."), 130, "error: Stopped.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_an_error_is_a_line_and_an_exit_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command() -> None:
        raise error

    module = importlib.import_module("ptycho_cli.cli.inspect_config")
    monkeypatch.setattr(module, "command", command)

    assert main(["inspect-config"]) == code
    assert capsys.readouterr().err == message


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def command() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(importlib.import_module("ptycho_cli.cli.inspect_config"), "command", command)

    with pytest.raises(ZeroDivisionError):
        main(["inspect-config"])


def test_calling_the_program_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)
    before = dict(os.environ)
    app.main(["--version"])

    assert dict(os.environ) == before


@pytest.mark.parametrize(("words", "collects"), [(["inspect-config"], False), (["data", "check", "nowhere.h5"], True)])
def test_garbage_is_collected_again_before_a_command_computes(words: list[str], collects: bool) -> None:
    """It is off while the program starts; a training without it would keep every tensor of a cycle."""
    gc.disable()
    try:
        main(words)
        assert gc.isenabled() is collects
    finally:
        gc.enable()
