"""The command line is parsed once: every setting keeps the number of its argument, in the order typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.cli.commands import load_command
from ptycho_cli.cli.typer_command import all_arguments, typed_settings
from ptycho_cli.extend import host


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train --epochs 3 a.h5 --epochs=4", [("--epochs", "3", 2), ("--epochs", "4", 5), ("DATA", "a.h5", 4)]),
        ("train -ofolder -o other", [("-o", "folder", 2), ("-o", "other", 3)]),
        ("train --set a.b=c=d --no-deterministic", [("--set", "a.b=c=d", 2), ("--no-deterministic", True, 4)]),
        ("train -- -a.h5 --epochs", [("DATA", "-a.h5", 3), ("DATA", "--epochs", 4)]),
        ("train --learning-rate -1 --force", [("--learning-rate", "-1", 2)]),
        ("infer run a.h5 -o b.h5 --polish 3", [("--polish", "3", 6), ("DATA", "a.h5", 3)]),
        ("train --max_epochs 3", [("--max_epochs", "3", 2)]),
    ],
)
def test_a_setting_is_recorded_with_its_spelling_and_number(line: str, expected: list[tuple[str, str, int]]) -> None:
    """Options of the command itself, such as ``-o`` of ``infer``, are no settings."""
    name, *arguments = shlex.split(line)
    root = load_command("plugins").make_context("ptycho", ["list"])

    ctx = load_command(name).make_context(name, arguments, parent=root)

    assert list(typed_settings(ctx)) == expected
    assert all_arguments(ctx) == (name, *arguments)


def test_plugins_are_loaded_once(scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []

    class CountedLoader(host.Loader):
        def __init__(self) -> None:
            loads.append(self)
            super().__init__()

    monkeypatch.setattr(host, "Loader", CountedLoader)
    short = [
        "-o",
        str(tmp_path / "run"),
        "--epochs",
        "1",
        "--n-groups",
        "1",
        "--group-size",
        "12",
        "--no-report",
        "--quiet",
    ]

    for line in (["inspect-config", "--explain", "training"], ["train", str(scan_file), *short, "--dry-run"]):
        loads.clear()
        assert main([*line]) == 0
        assert len(loads) == 1
