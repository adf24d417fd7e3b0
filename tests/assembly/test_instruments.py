"""Scans of several instruments in one training: each is seen with its own probe, mask, size and dose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import ptycho_cli
from ptycho_cli.assembly.build import Assembled, build
from ptycho_cli.assembly.instruments import needs_probe_per_scan
from ptycho_cli.config.schema import Config, DataSettings, ModelSettings, PhysicsSettings, TrainingSettings
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulated_probes import round_aperture
from ptycho_cli.data.simulation import MeasuredProbe, simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import ConfigError, ShapeError
from ptycho_cli.networks.entries import (
    REFINER,
    UNROLLED,
    RefinerOptions,
    UnrolledOptions,
)

NETWORKS = {
    "unrolled": (UNROLLED, UnrolledOptions(stages=2, width=4)),
    "refiner": (REFINER, RefinerOptions(physics_stages=24, width=4, levels=2)),
}


def aperture(n_pixels: int, seed: int) -> MeasuredProbe:
    probe = round_aperture(n_pixels, 0.4 * n_pixels, np.random.default_rng(seed))
    return MeasuredProbe(probe[None], 1e-8 * (1 + seed), 1.4e-10)


@pytest.fixture(scope="module")
def scans() -> tuple[Scan, Scan]:
    """Frames of 32 and of 24 px, of different probes, pixels and doses."""
    first = simulate(n_frames=49, n_pixels=32, photons=1e6, seed=1)
    own = aperture(24, 3)
    other = simulate(n_frames=36, n_pixels=24, photons=1e5, seed=2, measured_probe=own, object_kind="texture")
    return first, replace(other, mask=np.arange(24) != np.full((24, 1), 7))


def made(scans: tuple[Scan, ...], network: str = "unrolled", **changes: object) -> Assembled:
    entry, options = NETWORKS[network]
    settings = {
        "model": ModelSettings(name=network, options=options), "data": DataSettings(group_size=16),
        "physics": PhysicsSettings(probe_warmup=0, refine_intensity="never", background=0.0),
    }  # fmt: skip
    return build(Config(**{**settings, **changes}), scans, network=entry)  # type: ignore[arg-type]


@pytest.mark.parametrize("network", NETWORKS)
def test_each_group_is_seen_as_in_a_training_of_its_scan_alone(scans: tuple[Scan, Scan], network: str) -> None:
    """Losses and gradients of a group of the second scan equal those of a training on that scan."""
    both, alone = (
        made(scans, network),
        made(
            scans[1:],
            network,
            physics=PhysicsSettings(probe_warmup=0, refine_intensity="never", background=0.0, alpha=both_alpha(scans)),
        ),
    )
    alone.objective.canvas = both.objective.canvas
    alone.objective.network.load_state_dict(both.objective.network.state_dict())
    group = next(g for g in (both.groups.training_group(0, i) for i in range(50)) if int(g.scan) == 1)
    frames = group.frames[0]
    twin = replace(
        group, scan=torch.zeros(1, dtype=torch.int64), frames=frames[None], probe=torch.empty(0), valid=torch.empty(0),
        intensities=torch.empty(0), background=torch.empty(0),
    )  # fmt: skip

    assert group.probe.shape[-1] == 24
    torch.testing.assert_close(both.objective(group), alone.objective(twin), rtol=1e-5, atol=0)


def both_alpha(scans: tuple[Scan, ...]) -> float:
    """The regularisation that a training on both scans takes from the first."""
    from ptycho_cli.calibration.auto_rules import auto_alpha

    return auto_alpha(scans[0])


def test_one_probe_serves_scans_of_one_instrument(scans: tuple[Scan, Scan]) -> None:
    again = simulate(n_frames=49, n_pixels=32, photons=1e4, seed=5)
    other = simulate(n_frames=49, n_pixels=32, seed=5, measured_probe=replace(aperture(32, 1), object_pixel_m=None))
    auto, never, always = (PhysicsSettings(probe_per_scan=wanted) for wanted in ("auto", "never", "always"))

    assert not needs_probe_per_scan(auto, (scans[0], again))
    assert needs_probe_per_scan(always, (scans[0], again))
    assert needs_probe_per_scan(auto, (scans[0], other))
    assert needs_probe_per_scan(auto, scans)
    assert not needs_probe_per_scan(never, scans)
    with pytest.raises(ShapeError, match=r"frames of 24 pixels.*probe_per_scan=always"):
        made(scans, physics=never)


def test_batches_of_several_sizes_are_refused(scans: tuple[Scan, Scan]) -> None:
    with pytest.raises(ConfigError, match=r"batch_size is 2, but the scans have probes of 2 shapes"):
        made(scans, training=TrainingSettings(batch_size=2))


def test_a_run_reconstructs_each_of_its_scans_with_that_scans_probe(scans: tuple[Scan, Scan], tmp_path: Path) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path, scan in zip(paths, scans, strict=True):
        write_scan(path, scan)
    run = ptycho_cli.train(
        *paths, output_dir=str(tmp_path / "run"), epochs=1, n_groups=4, report=False, group_size=16,
        network_options={"stages": 4, "width": 4},
    )  # fmt: skip
    found = ptycho_cli.infer(run, paths[1])

    assert json.loads((tmp_path / "run" / "run.json").read_text())["auto"]["physics.probe_per_scan"]
    assert any("this scan's own" in line for line in found.warnings)
    assert found.verdict is not None
    assert found.verdict.explained
