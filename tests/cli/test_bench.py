"""``ptycho bench``: where the time of a training step goes, with two sets of settings beside each other."""

from __future__ import annotations

import json

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.throughput import OUTSIDE

SMALL = ("bench", "--n-frames", "36", "--size", "16", "--steps", "4", "--network-option", "stages=2")


def test_the_parts_of_a_step_add_up_and_settings_take_effect(capsys: pytest.CaptureFixture[str]) -> None:
    """Without convolutions that see squares of pixels, a network of width 64 spends more of a step in its CNN."""
    assert main([*SMALL, "--network-option", "width=2", "--against", "model.options.width=128", "--json"]) == 0
    narrow, wide = json.loads(capsys.readouterr().out)["measured"]

    for each in (narrow, wide):
        assert sum(each["parts_ms"].values()) == pytest.approx(each["step_ms"], rel=0.2)
        assert each["parts_ms"]["FFT"] > 0
        assert each["times_fft"] == pytest.approx(each["step_ms"] / each["parts_ms"]["FFT"])
        assert min(each[name] for name in ("infer_frames_per_s", "train_frames_per_s", "peak_memory_mib")) > 0
    share = [each["parts_ms"]["CNN"] / each["step_ms"] for each in (narrow, wide)]
    assert share[1] > 2 * share[0]
    assert wide["settings"] == {"model.options.width": "128"}


def test_the_table_has_a_column_for_each_set_of_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--modes", "2", "--against", "training.batch_size=2", "--quiet"]) == 0

    shown = capsys.readouterr().out
    assert "training.batch_size=2" in shown
    assert OUTSIDE in shown


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--size", "17"), "expected an even number"),
        (("--against", "width"), "expected KEY=VALUE"),
        (("--against", "model.options.widht=3"), "widht"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *words]) == 2
    assert line in capsys.readouterr().err
