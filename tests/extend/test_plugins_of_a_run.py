"""A run keeps the distributions that its network, scheduler and callbacks came from."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main

MakePlugin = Callable[..., Path]
PLUGIN = """
from ptycho_cli.extend import (
    CallbackEntry, NetworkEntry, Options, Schedule, SchedulerEntry, closed_form, hookimpl
)

ptycho_plugin_api = 1


def build_network(context, options):
    import torch

    from ptycho_cli.networks.contract import Network

    class OneStep(Network):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(1.0))
            self.register_buffer("alpha", torch.tensor(context.update.alpha))

        def forward(self, source, *, physics_only=False, progress=None):
            obj = source.vacuum()
            change, photons = source.back_project(obj)
            step = context.update(obj, change, photons, source.peak, alpha=self.alpha)
            return obj + (step if physics_only else self.gain * step)

    return OneStep()


def build_callback(context, options):
    from lightning.pytorch import Callback

    return Callback()


def build_scheduler(optimizer, span, options):
    return Schedule(closed_form(optimizer, lambda step: 0.9**step))


@hookimpl
def ptycho_networks():
    return [NetworkEntry("NAME", "One step.", Options, build_network)]


@hookimpl
def ptycho_schedulers():
    return [SchedulerEntry("NAME", "A decay.", Options, build_scheduler)]


@hookimpl
def ptycho_callbacks():
    return [CallbackEntry("NAME", "Nothing.", Options, build_callback)]
"""
OTHER = PLUGIN.replace("self.gain", "self.gain_of_another").replace("class OneStep", "class Another")
QUICK = (
    *("--n-groups", "5", "--group-size", "6", "--accelerator", "cpu", "--quiet"),
    *("--set", "physics.probe_warmup=0", "--set", "inference.polish=0", "--no-report"),
)


@pytest.fixture
def trained(make_plugin: MakePlugin, scan_file: Path, tmp_path: Path) -> str:
    """A run of one epoch with network, scheduler and callback ``Mine`` of ptycho-one 1.0."""
    make_plugin("ptycho-one", PLUGIN)
    run = str(tmp_path / "run")
    chosen = ("--network", "Mine", "--scheduler", "Mine", "--callback", "Mine", "--epochs", "1")
    assert main(["train", str(scan_file), "-o", run, *chosen, *QUICK]) == 0
    return run


def test_another_plugin_with_the_same_names_changes_nothing(
    trained: str, make_plugin: MakePlugin, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((Path(trained) / "run.json").read_text())["config"]
    assert (record["model"]["name"], record["scheduler"]["name"]) == ("ptycho-one:Mine", "ptycho-one:Mine")
    assert list(record["callbacks"]) == ["ptycho-one:Mine"]
    make_plugin("ptycho-two", OTHER)
    capsys.readouterr()

    assert main(["infer", trained, str(scan_file), "-o", str(tmp_path / "out.h5"), "--quiet"]) == 0
    assert main(["train", "--resume", trained, "--epochs", "2", "--quiet"]) == 0
    assert main(["inspect-config", str(scan_file), "-o", str(tmp_path / "new"), "--from-run", trained, "--quiet"]) == 0

    assert "Mine" not in capsys.readouterr().err
    assert main(["train", "--resume", trained, "--epochs", "3", "--set", "callbacks.Mine=false", "--quiet"]) == 0
    assert json.loads((Path(trained) / "run.json").read_text())["config"]["callbacks"] == {}


def test_a_record_of_an_earlier_version_means_the_plugin_that_it_lists(
    trained: str, make_plugin: MakePlugin, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names had no distribution in it."""
    record = Path(trained) / "run.json"
    record.write_text(record.read_text().replace("ptycho-one:Mine", "Mine"))
    make_plugin("ptycho-two", OTHER)

    assert main(["infer", trained, str(scan_file), "-o", str(tmp_path / "out.h5"), "--quiet"]) == 0
    assert main(["train", "--resume", trained, "--epochs", "2", "--quiet"]) == 0

    assert "Mine" not in capsys.readouterr().err
    assert list(json.loads(record.read_text())["config"]["callbacks"]) == ["ptycho-one:Mine"]


def test_a_plugin_that_took_its_place_is_not_taken_for_it(
    trained: str, make_plugin: MakePlugin, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uninstall("ptycho_one", tmp_path)
    make_plugin("ptycho-two", OTHER)
    capsys.readouterr()

    assert main(["infer", trained, str(scan_file), "-o", str(tmp_path / "out.h5"), "--quiet"]) == 2

    error = capsys.readouterr().err
    assert "there is no network ptycho-one:Mine. It came from ptycho-one 1.0. Install it again." in error


def test_a_missing_callback_can_be_left_out_by_its_bare_name(
    trained: str, make_plugin: MakePlugin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uninstall("ptycho_one", tmp_path)
    make_plugin("ptycho-one", PLUGIN.split("@hookimpl\ndef ptycho_callbacks")[0])
    again = ["train", "--resume", trained, "--epochs", "2", "--quiet"]

    assert main(again) == 2
    assert "there is no callback ptycho-one:Mine." in capsys.readouterr().err
    assert main([*again, "--set", "callbacks.Mine=false"]) == 0


@pytest.mark.long
def test_another_version_is_named_at_infer_and_at_resume(
    trained: str, make_plugin: MakePlugin, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uninstall("ptycho_one", tmp_path)
    make_plugin("ptycho-one", PLUGIN, version="2.0")
    capsys.readouterr()

    assert main(["infer", trained, str(scan_file), "-o", str(tmp_path / "out.h5"), "--quiet"]) == 0

    made = "Mine: the run was made with ptycho-one 1.0, and 2.0 is installed."
    assert f"warning: network {made}" in capsys.readouterr().err
    resume = ("--resume", trained, "--epochs", "2", "--resume-schedule", "config")
    assert main(["train", *resume]) == 0
    notes = " ".join(capsys.readouterr().err.split())
    assert f"note: network {made}" in notes
    assert f"note: callback {made}" in notes


def uninstall(module: str, tmp_path: Path) -> None:
    (tmp_path / "site" / f"{module}.py").unlink()
    (metadata,) = (tmp_path / "site").glob(f"{module}-*.dist-info")
    for file in metadata.iterdir():
        file.unlink()
    metadata.rmdir()
    sys.modules.pop(module, None)
