"""A run of 10,000 optimizer steps with validation and checkpoints: memory, open files and threads stay as they are."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.render.live_display import LiveDisplay

EPOCHS, GROUPS = 100, 100
SLACK = 2**23  # bytes; less than 1 KiB for each step


@pytest.mark.long
def test_memory_and_open_files_are_flat_over_ten_thousand_steps(
    start: Any, tiny_scan: Path, small_training: tuple[str, ...], tmp_path: Path
) -> None:
    measured = tmp_path / "measured"

    def before() -> None:
        def epoch(self: LiveDisplay, number: int, figures: Mapping[str, float]) -> None:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found = (
                pages * resource.getpagesize(),
                *(len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task")),
            )
            with measured.open("a") as file:
                print(*found, file=file)

        LiveDisplay.epoch = epoch  # type: ignore[method-assign]

    size = ("--epochs", EPOCHS, "--n-groups", GROUPS, "--accumulate-grad-batches", "1")
    ended = start("train", tiny_scan, "-o", tmp_path / "run", *small_training, *size, before=before).wait()

    assert ended.code == 0, ended.err
    rows = [tuple(map(int, line.split())) for line in measured.read_text().splitlines()]
    assert len(rows) == EPOCHS
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + EPOCHS * GROUPS
    for number in (1, 10, 50, 100):
        bytes_used, files, threads = rows[number - 1]
        print(f"step {number * GROUPS}: {bytes_used / 2**20:.1f} MiB, {files} open files, {threads} threads")
    assert rows[-1][0] - rows[9][0] < SLACK
    assert rows[-1][1:] == rows[0][1:]
