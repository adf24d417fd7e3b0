"""A third-party network, from its discovery through training to the reconstruction of other scans."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from ptycho_cli.cli.app import main
from ptycho_cli.errors import PluginError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.specs import NetworkEntry

MakePlugin = Callable[..., Path]
# The example in docs/tutorials/network_plugin.md, under another name.
PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "network_plugin.md").read_text()
ONE_STEP = PAGE.partition("cat > ptycho_step.py <<'EOF'\n")[2].partition("\nEOF\n")[0].replace('"OneStep"', '"NAME"')
QUICK = (
    "--epochs",
    "1",
    "--n-groups",
    "4",
    "--group-size",
    "12",
    "--set",
    "physics.probe_warmup=0",
    "--no-report",
    "--quiet",
)


@pytest.mark.long
def test_a_network_of_a_plugin_is_trained_and_reconstructs_other_scans(
    make_plugin: MakePlugin,
    small_scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = make_plugin("ptycho-step", ONE_STEP, offers="OneStep")
    run, out = str(tmp_path / "run"), str(tmp_path / "out.h5")
    choice = ("--network", "onestep", "--network-option", "gain=0.5", "--accelerator", "cpu")

    assert main(["train", str(small_scan), "-o", run, *choice, *QUICK]) == 0
    gain = float(load_file(Path(run) / "weights.safetensors")["network.gain"])
    assert gain != 0.5  # it was trained
    assert gain == pytest.approx(0.5, abs=0.1)  # starting at the option's value
    record = json.loads((Path(run) / "run.json").read_text())
    assert record["config"]["model"] == {"name": "ptycho-step:OneStep", "weights": "auto", "options": {"gain": 0.5}}
    assert [plugin["networks"] for plugin in record["plugins"] if plugin["distribution"] == "ptycho-step"] == [
        ["OneStep"]
    ]

    scores = []
    for more in ((), ("--untrained",)):
        capsys.readouterr()
        assert main(["infer", run, str(small_scan), "-o", out, "--json", "--force", *more]) == 0
        scores.append(json.loads(capsys.readouterr().out))
    trained, untrained = scores
    assert trained["complex_snr_db"] > trained["flat_object"]["complex_snr_db"]
    assert untrained["r_factor"] != trained["r_factor"]
    assert trained["polish"] == 0  # a third-party network is not polished,
    assert "auto makes none after the network OneStep" in trained["notes"][0]

    asking = ONE_STEP.replace(
        "    class OneStep(Network):\n", "    class OneStep(Network):\n        polish_by_default = True\n"
    )
    module.write_text(asking.replace("NAME", "OneStep"))
    monkeypatch.delitem(sys.modules, "ptycho_step")
    assert main(["train", str(small_scan), "-o", f"{run}-asking", *choice, *QUICK]) == 0
    capsys.readouterr()
    assert main(["infer", f"{run}-asking", str(small_scan), "-o", out, "--json", "--force"]) == 0
    polished = json.loads(capsys.readouterr().out)
    assert polished["complex_snr_db"] > trained["complex_snr_db"] + 6  # unless its class requests it

    changed = ONE_STEP.replace("torch.tensor(options.gain)", "torch.full((2, 1, 1), options.gain)")
    module.write_text(changed.replace("NAME", "OneStep"))
    monkeypatch.delitem(sys.modules, "ptycho_step")
    assert main(["infer", run, str(small_scan), "-o", out, "--force"]) == 2
    assert "made by ptycho-step 1.0: install that version" in capsys.readouterr().err

    assert main(["infer", run, str(small_scan), "-o", out, "--force", "--no-plugin", "ptycho-step"]) == 2
    assert f"checkpoint {run}: there is no network ptycho-step:OneStep." in capsys.readouterr().err


def test_two_networks_of_one_name_need_a_qualified_one(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-left", ONE_STEP, offers="Same")
    make_plugin("ptycho-right", ONE_STEP, offers="unrolled")
    make_plugin("ptycho-more", ONE_STEP, offers="Same")
    host = load_plugins()

    with pytest.raises(PluginError, match=r"ptycho-left 1\.0 and ptycho-more 1\.0 both offer the network Same"):
        host.find(NetworkEntry, "same")
    assert host.find(NetworkEntry, "ptycho-more:Same").entry.options.__module__ == "ptycho_more"
    assert host.find(NetworkEntry, "unrolled").entry.options.__module__ == "ptycho_cli.networks.entries"
    assert host.find(NetworkEntry, "ptycho-right:unrolled").entry.options.__module__ == "ptycho_right"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import torch\n", "raise KeyError('scale')\n", "network 'Odd' failed in build: KeyError: 'scale'."),
        ("return OneStep()", "return 7", "network 'Odd' returned int, expected a torch.nn.Module."),
    ],
)
def test_a_failing_factory_is_named_before_anything_is_written(
    make_plugin: MakePlugin,
    small_scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    message: str,
) -> None:
    make_plugin("ptycho-odd", ONE_STEP.replace(old, new), offers="Odd")

    code = main(["train", str(small_scan), "-o", str(tmp_path / "run"), "--network", "Odd", *QUICK])

    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_network_offered_as_a_scheduler_is_left_out(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-odd", ONE_STEP.replace("def ptycho_networks", "def ptycho_schedulers"), offers="Odd")

    (line,) = load_plugins().catalogue().broken

    assert "its hook 'ptycho_schedulers' offers" in line
    assert "expected a SchedulerEntry" in line
