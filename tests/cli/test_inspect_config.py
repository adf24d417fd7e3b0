"""``ptycho inspect-config`` from argv to what people and programs read."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.config.keys import keys
from ptycho_cli.config.presets import PRESETS

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("PTYCHO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PTYCHO_NO_PLUGINS", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def inspect(capsys: pytest.CaptureFixture[str], line: str, code: int = 0) -> tuple[str, str]:
    got = main(["inspect-config", *shlex.split(line)])
    out, err = capsys.readouterr()
    assert got == code, err
    return out, err


def report(capsys: pytest.CaptureFixture[str], line: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(inspect(capsys, line + " --json", code)[0])
    return found


def decision(found: dict[str, Any], key: str) -> dict[str, Any]:
    return next(item for item in found["decisions"] if item["key"] == key)


def test_the_example_of_the_manual_shows_the_whole_story(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("run.yaml").write_text("scheduler:\n  name: Default\ntraining:\n  batch_size: 2\n")
    monkeypatch.setenv("PTYCHO_TRAINING__BATCH_SIZE", "4")

    found = report(capsys, "-c run.yaml --scheduler exponential --accumulate-grad-batches 4 --batch-size=8")

    assert found["problems"] == []
    assert found["config"]["training"]["accumulate_grad_batches"] == 4
    assert found["config"]["scheduler"]["name"] == "Exponential"
    assert decision(found, "scheduler.name") == {
        "key": "scheduler.name",
        "value": "Exponential",
        "source": "command-line",
        "origin": "--scheduler (argument 4)",
        "overridden": [
            {"value": "Default", "source": "run file", "origin": "run.yaml:2"},
            {"value": "Default", "source": "default", "origin": "default"},
        ],
    }
    batch = decision(found, "training.batch_size")
    assert [batch["origin"], *(item["origin"] for item in batch["overridden"])] == [
        "--batch-size (argument 8)",
        "$PTYCHO_TRAINING__BATCH_SIZE",
        "run.yaml:4",
        "default",
    ]


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("--learning-rate 1e-3", "optimizer.learning_rate", 1e-3),
        ("--no-deterministic", "execution.deterministic", False),
        ("--deterministic", "execution.deterministic", True),
        ("--disable-checkpointing", "checkpoint.enabled", False),
        ("--checkpoint-save-top-k -1", "checkpoint.save_top_k", -1),
        ("-oruns/a", "training.output_dir", "runs/a"),
        ("--output-dir=runs/a", "training.output_dir", "runs/a"),
        ("--set training.n_groups=null", "training.n_groups", None),
        ("--set 'data.paths=[]'", "data.paths", []),
        ("--gridsize 2", "data.group_size", 4),
    ],
)
def test_a_word_reaches_its_setting(line: str, key: str, value: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert decision(report(capsys, line), key)["value"] == value


def test_every_flag_of_the_schema_is_a_flag_of_the_command_and_survives_a_narrow_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = inspect(capsys, "--help")[0]

    for key in keys().values():
        if key.group != "inference":
            for flag in (*key.flags, *key.negative_flags):
                assert re.search(rf"(?<![\w-]){flag}(?![\w-])", text), flag
    assert "…" not in text
    assert "--max_epochs" not in text


def test_refused_settings_exit_2_and_stand_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--scheduler Exponental --accumulate-grad-batches 0 missing.h5", code=2)

    assert [(item["key"], item["origin"]) for item in found["problems"]] == [
        ("training.accumulate_grad_batches", "--accumulate-grad-batches (argument 4)"),
        ("scheduler.name", "--scheduler (argument 2)"),
        ("data.paths", "DATA (argument 6)"),
    ]


def test_each_problem_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = inspect(capsys, "--epochs 0 --set a.b=1 --show none", code=2)

    assert out == ""
    assert [line[:7] for line in err.splitlines()] == ["error: ", "error: "]


def test_an_unknown_flag_exits_2_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = inspect(capsys, "--schedulr Exponential", code=2)

    assert "No such option: --schedulr" in err
    assert "--scheduler" in err
    assert "Traceback" not in err


def test_nothing_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    inspect(capsys, "-o runs/new --json")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("columns", [40, 80, 120, 160])
def test_the_table_cuts_no_value_at_any_width(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    out = inspect(capsys, f"-o {'Q' * 150} --accumulate-grad-batches 4")[0]

    assert "…" not in out
    assert max(map(len, out.splitlines())) <= columns
    assert not CONTROL.search(out)
    assert out.count("Q") == 150
    assert columns < 80 or "training.accumulate_grad_batches" in out


def test_the_table_is_as_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text("training:\n  batch_size: 2\n")

    out = inspect(capsys, "-c run.yaml --batch-size 8 --scheduler exponential --accumulate-grad-batches 4")[0]

    assert [line.rstrip() for line in out.splitlines()] == [
        "setting                           value        from",
        "─" * 80,
        "scheduler.name                    Exponential  --scheduler (argument 6)",
        "  overrides                       Default      default",
        "training.batch_size               8 groups     --batch-size (argument 4)",
        "  overrides                       2 groups     run.yaml:2",
        "  overrides                       1 group      default",
        "training.accumulate_grad_batches  4 batches    --accumulate-grad-batches",
        "                                               (argument 8)",
        "  overrides                       1 batch      default",
        "training.stop                     never        --scheduler (argument 6)",
        "  overrides                       auto         default",
        "One optimizer step sees 32 groups (8 x 4 accumulated).",
        f"The other {len(keys()) - 3 + 2 + 3} settings are defaults; --show all lists them.",  # with the options
    ]


def everything_at_once(monkeypatch: pytest.MonkeyPatch) -> str:
    """Settings from every kind of layer, one of them refused, and a command line that says so."""
    Path("star").mkdir()
    config = {
        "training": {"epochs": 8, "batch_size": 3, "output_dir": "star"},
        "model": {"name": "unrolled", "options": {"width": 16}},
    }
    Path("star/run.json").write_text(json.dumps({"config": config, "decisions": []}))
    Path("moon").mkdir()
    Path("moon/run.json").write_text(json.dumps({"config": {"training": {"epochs": 11}}, "decisions": []}))
    Path("own.yaml").write_text("training:\n  epochs: 9\n")
    Path("run.yaml").write_text("scheduler:\n  name: exponential\n  options:\n    gamma: 0.9\n")
    monkeypatch.setenv("PTYCHO_USER_FILE", "own.yaml")
    monkeypatch.setenv("PTYCHO_TRAINING__EPOCHS", "12")
    layers = "--preset quick --resume star --from-run moon -c run.yaml"
    return f"{layers} --learning-rate 0 --epochs 13 --set training.epochs=14 --resume-schedule config"


def test_the_table_tells_every_layer_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = inspect(capsys, everything_at_once(monkeypatch), code=2)

    assert [line.rstrip() for line in out.splitlines()] == [
        "setting                  value        from",
        "─" * 67,
        "model.options.width      16           checkpoint star (fixed)",
        "  overrides              24           default",
        "optimizer.learning_rate  0 (refused)  --learning-rate (argument 10)",
        "  overrides              0.002        default",
        "scheduler.name           Exponential  run.yaml:2",
        "  overrides              Default      default",
        "scheduler.options.gamma  0.9          run.yaml:4",
        "  overrides              0.95         default",
        "training.output_dir      star         checkpoint star",
        "  overrides              null         default",
        "training.epochs          14           --set (argument 14)",
        "  overrides              13           --epochs (argument 12)",
        "  overrides              12           $PTYCHO_TRAINING__EPOCHS",
        "  overrides              11           run moon",
        "  overrides              9            own.yaml:2",
        f"  overrides              {dict(PRESETS[0].settings)['training.epochs']:<11}  preset quick",
        "  overrides              8            checkpoint star",
        "  overrides              6            default",
        "training.batch_size      3 groups     checkpoint star (fixed)",
        "  overrides              1 group      default",
        "training.stop            never        --set (argument 14)",
        "  overrides              auto         default",
        "One optimizer step sees 3 groups (3 x 1 accumulated).",
        "checkpoint star fixes 3 settings; 1 of the others is changed: training.epochs.",
        f"The other {len(keys()) + 5 - 7} settings are defaults; --show all lists them.",  # with the options
    ]
    assert err == "error: --learning-rate (argument 10): optimizer.learning_rate is 0, expected a number, above 0.\n"


@pytest.mark.parametrize("columns", [24, 40, 72, 80, 120, 160])
def test_every_value_and_place_is_whole_at_any_width_with_and_without_colour(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    line = everything_at_once(monkeypatch)
    plain = inspect(capsys, line, code=2)[0]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = inspect(capsys, line, code=2)[0]

    assert not CONTROL.search(plain)
    assert max(map(len, plain.splitlines())) <= columns
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain  # colour adds nothing that is needed
    found = "".join(plain.split())
    for part in (
        "optimizer.learning_rate",
        "$PTYCHO_TRAINING__EPOCHS",
        "checkpointstar(fixed)",
        "0(refused)",
        "runmoon",
    ):
        if columns < 72 or columns >= 80:
            assert part in found
    assert "…" not in plain


def test_show_chooses_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text("training:\n  batch_size: 2\n  epochs: 3\n")
    line = "-c run.yaml --batch-size 8"

    assert "training.epochs" in inspect(capsys, line)[0]
    assert "training.epochs" not in inspect(capsys, line + " --show overridden")[0]
    assert inspect(capsys, line + " --show none")[0] == ""
    everything = inspect(capsys, line + " --show all")[0]
    assert all(key in everything for key in keys())
    assert "--show is 'some', expected" in inspect(capsys, "--show some", code=2)[1]


def test_control_characters_cannot_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect-config", "-o", "evil\x1b[31mred"])

    assert not CONTROL.search(capsys.readouterr().out)


def test_explain_tells_one_story(capsys: pytest.CaptureFixture[str]) -> None:
    out = inspect(capsys, "--epochs 3 --explain training.epochs")[0]

    assert out.startswith("training.epochs = 3\n  from --epochs (argument 2)\n  overrides")
    assert "Expected:     a whole number, at least 1." in out
    assert "$PTYCHO_TRAINING__EPOCHS" in out
    assert "Did you mean training.epochs" in inspect(capsys, "--explain training.epoch", code=2)[1]


@pytest.mark.parametrize("form", ["--yaml", "--json"])
def test_what_is_printed_can_be_given_back(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = "--scheduler Exponential --scheduler-option gamma=0.5 --set physics.alpha=0.1 --val-data v.h5 --n-groups 7"
    Path("v.h5").write_text("x")
    first = report(capsys, line)["config"]
    Path("printed").write_text(inspect(capsys, f"{line} {form}")[0])

    assert report(capsys, "-c printed")["config"] == first


def test_the_printed_command_line_can_be_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    line = "--scheduler Exponential --scheduler-option gamma=0.5 --set physics.alpha=0.1 --no-deterministic"
    printed = inspect(capsys, f"{line} --cli")[0]

    assert printed.startswith("ptycho train ")
    assert report(capsys, printed.removeprefix("ptycho train "))["config"] == report(capsys, line)["config"]


def test_an_old_name_warns_only_when_typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYCHO_EXECUTION__ACCELERATOR", "cpu")
    assert inspect(capsys, "")[1] == ""

    out, err = inspect(capsys, "--device cuda --accelerator cpu --json")
    assert json.loads(out)["config"]["execution"]["accelerator"] == "cpu"
    assert err == (
        "warning: --device is an old name; use --accelerator (execution.accelerator)."
        " The new name was given too, so --device has no effect.\n"
    )


def test_a_run_is_a_layer_when_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("star").mkdir()
    Path("star/run.json").write_text(json.dumps(report(capsys, "--set model.options.width=16 --batch-size 3 -o star")))

    out = " ".join(inspect(capsys, "--resume star --epochs 9")[0].split())
    assert "model.options.width 16 checkpoint star (fixed)" in out
    assert "training.epochs 9 --epochs (argument 4) overrides 6 checkpoint star" in out
    assert re.search(
        r"checkpoint star fixes \d+ settings; 2 of the others are changed: training.epochs, training.stop\.", out
    )
    width = decision(report(capsys, "--resume star"), "model.options.width")
    assert (width["source"], width["fixed"]) == ("checkpoint", True)

    err = inspect(capsys, "--resume star --set model.options.width=32", code=2)[1]
    assert "model.options.width cannot be 32: checkpoint star fixes it to 16" in err


def test_going_on_with_a_run_is_judged_as_train_judges_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Seen before: inspect-config let a resumed run's batch size change, and train refused it once torch was loaded."""
    Path("star").mkdir()
    Path("star/run.json").write_text(json.dumps(report(capsys, "--batch-size 3 -o star")))

    for line in ("--batch-size 4", "--seed 4", "--group-size 9", "--loss amplitude"):
        assert "checkpoint star fixes it to" in inspect(capsys, f"--resume star {line}", code=2)[1]
    for line in ("--gradient-clip-val 2", "--no-deterministic", "--checkpoint-save-top-k 3", "-o star"):
        assert inspect(capsys, f"--resume star {line}")[1] == ""
    assert "--resume-schedule" in inspect(capsys, "--resume star --learning-rate 1")[1]
    assert inspect(capsys, "--resume star --learning-rate 1 --resume-schedule config")[1] == ""


def test_diff_shows_what_differs_from_another_run_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    Path("star").mkdir()
    line = "--batch-size 3 --scheduler Exponential --scheduler-option gamma=0.5"
    Path("star/run.json").write_text(json.dumps(report(capsys, line)))

    out = inspect(capsys, "--batch-size 4 --loss amplitude --diff star")[0]
    assert [line.rstrip() for line in out.splitlines()] == [
        "setting                  value        from",
        "─" * 69,
        "loss.name                amplitude    --loss (argument 4)",
        "  star                   poisson      default",
        "scheduler.name           Default      default",
        "  star                   Exponential  --scheduler (argument 4)",
        "scheduler.options.gamma  not set",
        "  star                   0.5          --scheduler-option (argument 6)",
        "scheduler.options.every  not set",
        "  star                   1ep          default",
        "training.batch_size      4 groups     --batch-size (argument 2)",
        "  star                   3 groups     --batch-size (argument 2)",
        "training.stop            auto         default",
        "  star                   never        --scheduler (argument 4)",
        "6 settings differ from star; the line below each shows its value.",
    ]

    found = report(capsys, "--from-run star --batch-size 4 --diff star")
    assert found["differences"] == [
        {
            "key": "training.batch_size",
            "here": {"value": 4, "source": "command-line", "origin": "--batch-size (argument 4)"},
            "there": {"value": 3, "source": "command-line", "origin": "--batch-size (argument 2)"},
        }
    ]
    assert "All settings equal those of star." in inspect(capsys, "--from-run star --diff star")[0]
    assert "no such folder" in inspect(capsys, "--diff nowhere", code=2)[1]


@pytest.mark.parametrize("forms", ["--json --yaml", "--cli --explain training.epochs", "--yaml --diff star"])
def test_two_forms_of_output_are_refused(forms: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = inspect(capsys, forms, code=2)

    assert out == ""
    assert "request different outputs" in err


def test_a_preset_is_found_whatever_its_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert decision(report(capsys, "--preset Quick"), "training.epochs")["origin"] == "preset quick"
