"""One training, many scans: of other objects, as the start of a shorter training, and several at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ptycho_cli
from ptycho_cli.api import TrainedRun
from ptycho_cli.assembly.build import build
from ptycho_cli.cli.app import main
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.schema import Config
from ptycho_cli.config.sources import library_layer
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import CheckpointError, DataError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.specs import NetworkEntry

STEADY = {"physics.background": 0.0, "physics.refine_intensity": "never"}  # as the simulated scans are
SMALL = {
    "group_size": 24, "network_options": {"stages": 6, "width": 12, "subsets": 4}, "physics.probe_warmup": 0,
    "report": False, "inference.polish": 32, **STEADY,
}  # fmt: skip


def saved(folder: Path, name: str, **changes: object) -> str:
    scan = simulate(**{"n_frames": 160, "n_pixels": 32, "photons": 1e6, **changes})  # type: ignore[arg-type]
    write_scan(folder / name, scan)
    return str(folder / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("instrument")


@pytest.fixture(scope="module")
def first(folder: Path) -> str:
    return saved(folder, "first.h5", object_kind="texture", seed=2)


@pytest.fixture(scope="module")
def other(folder: Path) -> str:
    """Another object, at twice the light."""
    return saved(folder, "other.h5", object_kind="texture", seed=3, photons=2e6)


@pytest.fixture(scope="module")
def few(folder: Path) -> str:
    """Few frames of another object, at twice the light."""
    return saved(folder, "few.h5", object_kind="texture", seed=3, photons=2e6, n_frames=30)


@pytest.fixture(scope="module")
def run(folder: Path) -> TrainedRun:
    """A run of one epoch on few frames, whose weights are no longer those that it began with."""
    scan = saved(folder, "short.h5", object_kind="texture", seed=2, n_frames=30)
    return ptycho_cli.train(scan, output_dir=folder / "run", epochs=1, n_groups=12, **SMALL)


@pytest.fixture(scope="module")
def trained(folder: Path, first: str) -> TrainedRun:
    """A run whose network has learnt to reconstruct."""
    return ptycho_cli.train(first, output_dir=folder / "trained", epochs=10, **SMALL)


def snr(run: TrainedRun, data: str, **settings: object) -> float:
    """Of the network alone: after polish all starts give nearly the same object."""
    from ptycho_cli.data.read import read_scan
    from ptycho_cli.inference.results import scores

    found = scores(ptycho_cli.infer(run, data, polish=0, **settings).result, read_scan(data))
    return float(found["complex_snr_db"])


@pytest.mark.long
def test_a_run_reconstructs_an_object_it_has_never_seen_better_than_untrained(trained: TrainedRun, other: str) -> None:
    assert snr(trained, other) > snr(trained, other, untrained=True) + 2


@pytest.mark.long
def test_a_tenth_of_the_steps_from_a_run_reaches_what_a_whole_training_does(
    trained: TrainedRun, folder: Path, other: str
) -> None:
    whole = ptycho_cli.train(other, output_dir=folder / "whole", epochs=10, **SMALL)
    tuned = ptycho_cli.train(other, init_from=trained, output_dir=folder / "tuned", group_size=24)
    fresh = ptycho_cli.train(other, output_dir=folder / "fresh", epochs=1, n_groups=14, **SMALL)

    assert tuned.summary["optimizer_steps"] <= whole.summary["optimizer_steps"] / 9
    assert snr(tuned, other) > snr(whole, other) - 0.5
    assert snr(tuned, other) > snr(fresh, other) + 1


def test_weights_and_probe_are_those_of_the_run_before_the_first_step(run: TrainedRun, folder: Path, few: str) -> None:
    """A step of next to nothing leaves them as they were; the probe is scaled to the scan's light."""
    rates = {"learning_rate": 1e-12, "optimizer.probe_learning_rate": 1e-12}
    less = {"n_groups": 4, "group_size": 24, "inference.polish": 32, "report": False, **STEADY}
    still = ptycho_cli.train(few, init_from=run, output_dir=folder / "still", **rates, **less)  # type: ignore[arg-type]
    assert run.folder is not None
    assert still.folder is not None
    before, after = (load_file(item.folder / "weights.safetensors") for item in (run, still))  # type: ignore[operator]

    for name, weights in before.items():
        if name.startswith("network."):
            torch.testing.assert_close(after[name], weights, rtol=0, atol=1e-9)
    light = float(after["photons"][0] / before["photons"][0])
    assert light > 1.5
    probes = [
        tensors["probe_pairs"] * (tensors["photons"][0] / tensors["probe_pairs"].square().sum()).sqrt()
        for tensors in (before, after)
    ]
    torch.testing.assert_close(probes[1], probes[0] * light**0.5, rtol=1e-4, atol=1e-2)


def test_the_record_tells_where_a_run_began_and_the_network_cannot_be_another(
    run: TrainedRun, folder: Path, few: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", few, "--init-from", str(run.folder), "-o", str(folder / "again"), "--group-size", "24"]
    words += ["--no-report", "--set", "inference.polish=32"]

    assert main([*words, "--set", "model.options.width=8"]) == 2
    assert f"checkpoint {run.folder} fixes it to 12" in capsys.readouterr().err
    assert main([*words, "--resume", str(run.folder)]) == 2
    assert "--init-from cannot be combined with --resume" in capsys.readouterr().err
    assert main(["train", few, "--init-from", few, "-o", str(folder / "again")]) == 2
    assert not (folder / "again").exists()
    capsys.readouterr()

    assert main([*words, "--epochs", "2", "--n-groups", "3"]) == 0
    assert "Weights and probe start from the run" in capsys.readouterr().err
    record = json.loads((folder / "again" / "run.json").read_text())
    assert record["init_from"] == str(run.folder)
    assert record["applied_steps"] == 6
    assert record["config"]["model"]["options"]["width"] == 12


def settings(**changes: object) -> Config:
    layer = library_layer({"data.paths": ("a.h5",), **SMALL, **changes})
    return resolve([layer], load_plugins(()).catalogue()).config


def dimmed(scan: Scan, factor: float) -> Scan:
    return replace(scan, counts=np.round(scan.counts * factor).astype(np.float32))


def test_every_scan_is_explained_with_its_own_light_and_its_own_mask() -> None:
    """Half the light, and a dead quadrant of nonsense: both are as well explained as the scan alone."""
    config, network = settings(), load_plugins(()).find(NetworkEntry, "unrolled").entry
    plain = simulate(n_frames=60, n_pixels=32, photons=1e6, seed=3)
    counts, mask = dimmed(plain, 0.1).counts.copy(), plain.mask.copy()
    counts[:, :16, :16], mask[:16, :16] = 1e5, False
    half_dead = replace(plain, counts=counts * mask, mask=mask)

    def loss(scans: tuple[Scan, ...], validation: tuple[Scan, ...] = (), *, of: int) -> float:
        made = build(config, scans, validation, network=network)
        groups = made.groups
        batches = [groups.validation_group(index) for index in range(groups.n_validation)]
        with torch.no_grad():
            losses = [float(made.objective(batch)) for batch in batches if int(batch.scan) == of]
        return float(np.mean(losses))

    alone = loss((half_dead,), of=0)
    assert loss((plain, half_dead), of=1) < 1.3 * alone
    assert loss((plain,), (half_dead,), of=1) < 1.3 * alone


def test_one_probe_for_scans_of_other_pixel_sizes_is_refused(run: TrainedRun, folder: Path, first: str) -> None:
    fine = str(folder / "fine.h5")
    write_scan(fine, replace(simulate(n_frames=60, n_pixels=32, seed=5), object_pixel_m=8e-9))

    for make in (
        lambda: ptycho_cli.train(first, fine, output_dir=folder / "mixed", **{"physics.probe_per_scan": "never"}),
        lambda: ptycho_cli.infer(run, fine),
        lambda: ptycho_cli.train(fine, init_from=run, output_dir=folder / "mixed"),
    ):
        with pytest.raises((DataError, CheckpointError), match=r"object pixels of 8e-09 m, but .* has 1e-08 m"):
            make()
    assert not (folder / "mixed").exists()
    assert ptycho_cli.infer(run, fine, probe="scan").result.r_factor < 0.5
