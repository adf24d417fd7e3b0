"""Run folders that somebody has edited: each command that uses one ends in one line, and what is there stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.cli.app import main


def edit_record(*keys: Any, to: Any) -> Callable[[Path], None]:
    """Set one part of ``run.json``."""

    def edit(run: Path) -> None:
        record = json.loads((run / "run.json").read_text())
        part = record
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = to
        (run / "run.json").write_text(json.dumps(record))

    return edit


def write(name: str, content: str) -> Callable[[Path], None]:
    """Replace a file of the run."""
    return lambda run: (run / name).write_text(content) and None


def edit_checkpoint(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change the last checkpoint as a program that knows its format could."""

    def edit(run: Path) -> None:
        import torch

        path = run / "checkpoints" / "last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, path)

    return edit


def edit_weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change the weights, with a checksum that fits."""

    def edit(run: Path) -> None:
        from ptycho_cli.assembly.tensor_file import read_tensors, write_tensors
        from ptycho_cli.assembly.weights import FORMAT

        path = run / "weights.safetensors"
        tensors, about = read_tensors(path, FORMAT, expected="", missing_hint="")
        change(tensors)
        write_tensors(path, tensors, about)

    return edit


def without(*keys: str) -> Callable[[dict[str, Any]], Any]:
    def change(state: dict[str, Any]) -> None:
        for key in keys[:-1]:
            state = state[key]
        del state[keys[-1]]

    return change


def with_value(*keys: str, to: Any) -> Callable[[dict[str, Any]], Any]:
    def change(state: dict[str, Any]) -> None:
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = to

    return change


RECORDS: dict[str, Callable[[Path], None]] = {
    "a list": write("run.json", "[]"),
    "a number": write("run.json", "7"),
    "deep": write("run.json", "[" * 100_000),
    "stages": edit_record("config", "model", "options", "stages", to=10**9),
    "width": edit_record("config", "model", "options", "width", to=2**40),
    "text for a number": edit_record("config", "training", "seed", to="x"),
    "network": edit_record("config", "model", "name", to={"a": 1}),
    "group": edit_record("config", "data", to=[1]),
    "callbacks": edit_record("config", "callbacks", to={"preview": 3}),
    "data": edit_record("data", to=[{"path": 3}]),
    "pixel": edit_record("data", 0, "object_pixel_m", to="1"),
    "plugins": edit_record("plugins", to={"a": 1}),
    "polish": edit_record("auto", to={"inference.polish": 10**9}),
}
CHECKPOINTS = {
    "empty": write("checkpoints/last.ckpt", ""),
    "no state": edit_checkpoint(without("state_dict")),
    "no loops": edit_checkpoint(without("loops")),
    "no optimizer": edit_checkpoint(without("optimizer_states")),
    "no scheduler": edit_checkpoint(without("lr_schedulers")),
    "no callbacks": edit_checkpoint(without("callbacks")),
    "no steps": edit_checkpoint(without("ptycho", "applied_steps")),
    "no schedule": edit_checkpoint(without("ptycho_schedule", "settings")),
    "step of text": edit_checkpoint(with_value("ptycho", "applied_steps", to="many")),
    "scheduler of text": edit_checkpoint(with_value("lr_schedulers", to="x")),
    "loops of text": edit_checkpoint(with_value("loops", to={"fit_loop": 3})),
    "probe": edit_checkpoint(lambda state: with_value("state_dict", "objective.probe_pairs", to=3)(state)),
}


def one_line(capfd: Any) -> str:
    """The error: one line, after notes on the scan, and perhaps with a hint after it."""
    printed: str = capfd.readouterr().err
    assert "Traceback" not in printed
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) >= 1, printed
    assert printed.splitlines()[-1].startswith(("error: ", "hint: "))
    return errors[-1]


@pytest.fixture
def edited(whole: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.mark.parametrize("name", RECORDS)
def test_an_edited_record_is_refused_in_one_line(edited: Path, tiny_scan: Path, capfd: Any, name: str) -> None:
    RECORDS[name](edited)

    for words in (
        ("infer", edited, tiny_scan, "-o", edited / "new.h5"),
        ("train", "--resume", edited, "--quiet"),
        ("train", tiny_scan, "-o", edited / "new", "--init-from", edited, "--quiet", "--dry-run"),
        ("inspect-config", "--from-run", edited),
    ):
        code = main([str(word) for word in words])
        assert code in (0, 2), words
        if code:
            one_line(capfd)
        capfd.readouterr()
    assert main(["infer", str(edited), str(tiny_scan), "-o", str(edited / "other.h5")]) == 2
    assert not (edited / "other.h5").exists()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_an_edited_checkpoint_is_refused_in_one_line(edited: Path, capfd: Any, name: str) -> None:
    CHECKPOINTS[name](edited)

    assert main(["train", "--resume", str(edited), "--epochs", "4", "--resume-schedule", "config", "--quiet"]) == 2

    assert str(edited) in one_line(capfd)


def test_weights_of_zeros_and_of_nan_are_refused_in_one_line(edited: Path, tiny_scan: Path, capfd: Any) -> None:
    for factor in (0.0, float("nan")):
        edit_weights(lambda tensors, factor=factor: [tensor.mul_(factor) for tensor in tensors.values()])(edited)
        assert main(["infer", str(edited), str(tiny_scan), "-o", str(edited / "other.h5")]) == 2
        assert "weights.safetensors" in one_line(capfd)


@pytest.mark.parametrize(
    "content", ["", "step,epoch\n1", "\x00\x01", "step,epoch,learning_rate,train_loss,val_loss\n1,0"]
)
def test_metrics_that_are_cut_off_do_not_stop_a_resume(edited: Path, capfd: Any, content: str) -> None:
    (edited / "metrics.csv").write_text(content)

    code = main(["train", "--resume", str(edited), "--epochs", "4", "--resume-schedule", "config", "--quiet"])

    assert code in (0, 2)
    if code:
        one_line(capfd)
