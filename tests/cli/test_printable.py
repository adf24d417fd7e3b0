"""What is printed is printable: names from files and plugins cannot colour the terminal or write lines of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.errors import PluginError
from ptycho_cli.render.console import print_folded, print_text, results_console
from ptycho_cli.render.diagnostics import print_error

# a newline, a colour, rich markup, text from right to left, and a C1 control character
ODD = "[red]a\nINJECTED\x1b[31m\u202e\x9b"
SHOWN = r"[red]a\nINJECTED\x1b[31m\u202e\x9b"
QUICK = ("--n-groups", "5", "--group-size", "6", "--epochs", "1", "--accelerator", "cpu")
SMALL = ("model.options.stages=1", "model.options.subsets=1", "model.options.width=4", "physics.probe_warmup=0")


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command; returns what it printed, which is checked."""

    def run(*arguments: str, code: int = 0) -> str:
        found = main(list(arguments))
        out, err = capfd.readouterr()
        text = out + err
        assert found == code, text
        odd = {char for char in text if not (char.isprintable() or char == "\n")}
        assert not odd, text
        assert not [line for line in text.splitlines() if line.startswith("INJECTED")], text
        return text

    return run


@pytest.fixture
def odd_scan(scan_file: Path, tmp_path: Path) -> str:
    path = tmp_path / f"{ODD}.h5"
    shutil.copy(scan_file, path)
    return str(path)


def test_settings_with_odd_names_are_printed_in_every_form(printed: Callable[..., str], odd_scan: str) -> None:
    line = ("inspect-config", odd_scan, "-o", ODD)
    for form in ((), ("--show", "all"), ("--yaml",), ("--explain", "data.paths")):
        assert "INJECTED" in printed(*line, *form)
    config = json.loads(printed(*line, "--json"))["config"]
    assert (config["training"]["output_dir"], config["data"]["paths"]) == (ODD, [odd_scan])
    assert "[red]a\\nINJECTED\\u001b[31m" in printed(*line, "--cli")
    assert SHOWN in printed("inspect-config", f"missing {ODD}", code=2)
    assert SHOWN in printed("inspect-config", f"--{ODD}", code=2)
    assert SHOWN in printed(f"{ODD}", code=2)


def test_scans_with_odd_names_are_checked_and_converted(
    printed: Callable[..., str], odd_scan: str, tmp_path: Path
) -> None:
    assert SHOWN in printed("data", "check", odd_scan)
    assert json.loads(printed("data", "check", odd_scan, "--json"))
    copy = str(tmp_path / f"copy {ODD}.h5")
    assert f"copy {SHOWN}" in printed("data", "convert", odd_scan, "-o", copy)
    assert f"copy {SHOWN}" in printed("data", "convert", odd_scan, "-o", copy, code=2)
    assert SHOWN in printed("data", "check", str(tmp_path / f"none {ODD}.h5"), code=2)


def test_datasets_with_odd_names_are_listed(printed: Callable[..., str], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["[red]x\nINJECTED\x1b[31m"] = [[1.0, 2.0], [3.0, 4.0]]
        file.attrs["title\nINJECTED"] = "\x1b[31m"

    assert "[red]x\\nINJECTED\\x1b[31m" in printed("data", "check", str(tmp_path / "odd.h5"), code=2)


def test_a_run_with_odd_names_trains_and_infers(printed: Callable[..., str], odd_scan: str, tmp_path: Path) -> None:
    run, out = str(tmp_path / f"run {ODD}"), str(tmp_path / f"out {ODD}.h5")
    settings = [word for text in SMALL for word in ("--set", text)]

    assert SHOWN in printed("train", odd_scan, "-o", run, *QUICK, *settings)
    assert f"out {SHOWN}" in printed("infer", run, odd_scan, "-o", out)
    assert f"run {SHOWN}" in printed("train", odd_scan, "-o", run, *QUICK, *settings, code=2)
    printed("evaluate", out, "--data", odd_scan)
    printed("report", run)


def test_plugins_with_odd_names_and_messages_are_listed(
    printed: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "odd-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: odd\x1b[31m[red]\nVersion: 1\x9b\n")
    (metadata / "entry_points.txt").write_text("[ptycho_cli]\n[x]\n[ptycho_cli]\n\x1b[32m[red] = odd_plugin\n")
    (tmp_path / "odd_plugin.py").write_text(f"raise RuntimeError({ODD.strip('a')!r})\n")
    monkeypatch.syspath_prepend(tmp_path)

    for command in (("list",), ("list", "--json")):
        assert "[red]" in printed("plugins", *command)
    assert r"failed: RuntimeError: [red]a" in printed("plugins", "check", code=2)


def test_each_line_that_is_printed_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_text(ODD, "second")
    print_folded(results_console(), ODD, "second")
    print_error(PluginError(ODD, hint=ODD))

    out, err = capsys.readouterr()
    assert out == f"{SHOWN}\nsecond\n" * 2
    assert err == f"error: {SHOWN}\nhint: {SHOWN}\n"


def test_cells_of_tables_are_escaped_and_may_have_lines(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table("name")
    table.add_row("one\ntwo\x1b[31m [red]")
    results_console().print(table)

    out = capsys.readouterr().out
    assert r"two\x1b[31m [red]" in out
    assert "\x1b" not in out
