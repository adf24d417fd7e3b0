"""The table of effective values reads like the table of settings."""

from __future__ import annotations

import io

import pytest

from ptycho_cli.render.console import results_console
from ptycho_cli.render.effective_table import print_effective


def test_one_is_followed_by_a_singular_and_lines_begin_at_the_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = io.StringIO()
    effective = {"accelerator": "cpu", "batch_size": 1, "accumulate_grad_batches": 1, "total_steps": 24}

    requested, why = {**effective, "accelerator": "auto"}, {"accelerator": "auto is cpu"}
    print_effective(requested, effective, why, console=results_console(printed))

    lines = printed.getvalue().splitlines()
    assert [line.split() for line in lines if "─" not in line] == [
        ["effective", "value", "requested", "why"],
        ["accelerator", "cpu", "auto", "auto", "is", "cpu"],
        ["batch_size", "1", "group"],
        ["accumulate_grad_batches", "1", "batch"],
        ["total_steps", "24", "steps"],
    ]
    assert not [line for line in lines if line.startswith(" ")]
