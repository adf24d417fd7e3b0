"""Probe modes that are added: where the light is partly coherent they explain it, elsewhere they stay faint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ptycho_cli.assembly.build import Assembled, build
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.initial_probe import unrefined_probe
from ptycho_cli.calibration.probe_refinement import refine_probe
from ptycho_cli.calibration.probe_rounds import RefinedProbe
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.config.data_settings import DataSettings
from ptycho_cli.config.schema import Config, ModelSettings, OptimizerSettings, PhysicsSettings
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import MeasuredProbe, simulate, zone_plate_probe
from ptycho_cli.errors import ConfigError
from ptycho_cli.inference.reconstruct import reconstruct
from ptycho_cli.inference.results import scores
from ptycho_cli.networks.entries import UNROLLED, UnrolledOptions
from ptycho_cli.networks.unrolled import UnrolledNetwork
from ptycho_cli.physics.modes import with_modes
from ptycho_cli.physics.object_update import ObjectUpdate


@pytest.fixture(scope="module")
def partly_coherent() -> Scan:
    """A scan whose light has three modes of 70, 26 and 4 %; its file has all of them."""
    probe = with_modes(torch.from_numpy(zone_plate_probe(32, 1e6))[None], 3, 0.3)
    probe = probe * torch.tensor([1.0, 1.7, 0.3]).sqrt()[:, None, None]
    return simulate(
        n_frames=120, n_pixels=32, photons=1e6, seed=4, measured_probe=MeasuredProbe(probe.numpy()), step_px=3.2
    )


def first_only(scan: Scan) -> Scan:
    assert scan.probe is not None
    return replace(scan, probe=scan.probe[:1])


def refined(scan: Scan, modes: int | None, iterations: int | str = "auto") -> RefinedProbe:
    nobody = np.array([], dtype=np.int64)
    return refine_probe(
        scan, nobody, iterations, update=ObjectUpdate(auto_alpha(scan)), seed=0, dtype=torch.float32, modes=modes
    )  # fmt: skip


def snr_db(scan: Scan, probe: torch.Tensor) -> float:
    torch.manual_seed(0)
    network = UnrolledNetwork(stages=6, subsets=3, width=4, update=ObjectUpdate(auto_alpha(scan)))
    objective = Objective(network, probe, torch.tensor([frame_photons(scan)]))
    found = reconstruct(objective, scan, update=ObjectUpdate(auto_alpha(scan)), physics_only=True, polish=15)
    return float(scores(found, scan)["complex_snr_db"])


def built(scan: Scan, *, probe_rate: float = 3e-4, start: Objective | None = None, **physics: object) -> Assembled:
    config = Config(
        model=ModelSettings(options=UnrolledOptions(stages=1, subsets=1, width=4)),
        data=DataSettings(group_size=12),
        optimizer=OptimizerSettings(probe_learning_rate=probe_rate),
        physics=PhysicsSettings(**physics),  # type: ignore[arg-type]
    )
    return build(config, (scan,), network=UNROLLED, start=start)


def test_three_modes_explain_partly_coherent_light_and_show_more_of_the_object(partly_coherent: Scan) -> None:
    scan = first_only(partly_coherent)

    one, three = refined(scan, 1), refined(scan, 3)

    assert (len(one.probe), len(three.probe)) == (1, 3)
    assert three.deviance < 0.4 * one.deviance
    assert snr_db(scan, three.probe) > snr_db(scan, one.probe) + 2
    assert "2 modes were added" in three.note


def test_where_nothing_is_asked_for_the_data_choose_between_one_mode_and_three(partly_coherent: Scan) -> None:
    """One mode leaves more than photon noise unexplained there; a rough probe alone causes no further modes."""
    coherent = simulate(n_frames=80, n_pixels=32, photons=1e6, seed=1)
    assert coherent.probe is not None
    y, x = np.indices(coherent.probe.shape[1:]) - 16
    rough = replace(coherent, probe=(coherent.probe * np.exp(0.01j * (y**2 + x**2))).astype(np.complex64))

    chosen = refined(first_only(partly_coherent), None)
    one = refined(first_only(partly_coherent), 1)
    rough_probe = refined(rough, None)

    assert len(chosen.probe) == 3
    assert chosen.deviance < 0.4 * one.deviance
    assert "physics.probe_modes=1 keeps one" in chosen.note
    assert rough_probe.iterations > 0
    others = (refined(coherent, None), refined(partly_coherent, None))
    assert [len(found.probe) for found in (rough_probe, *others)] == [1, 1, 3]


def test_coherent_light_keeps_the_files_probe_and_faint_modes_beside_it() -> None:
    scan = simulate(n_frames=80, n_pixels=32, photons=1e6, seed=1)

    found = refined(scan, 3)

    assert found.iterations == 0
    photons = found.probe.abs().square().sum((1, 2), dtype=torch.float64)
    assert float(photons[1:].sum() / photons.sum()) == pytest.approx(1e-3, rel=1e-3)


def test_as_many_modes_as_the_file_has_unless_others_are_asked_for(partly_coherent: Scan) -> None:
    none = replace(partly_coherent, probe=None)

    for scan, asked, modes in ((partly_coherent, None, 3), (partly_coherent, 2, 2), (none, None, 1), (none, 4, 4)):
        assert len(unrefined_probe(scan, torch.float32, asked)) == modes
        assert len(refined(scan, asked, 1).probe) == modes


def test_a_probe_that_is_made_anew_has_the_modes_of_the_hopeless_one_in_the_file(partly_coherent: Scan) -> None:
    """A resumed run expects as many as the file has."""
    noise = np.random.default_rng(0).normal(size=(2, 2, 32, 32))
    with_noise_probe = replace(partly_coherent, probe=(noise[0] + 1j * noise[1]).astype(np.complex64))

    found = refined(with_noise_probe, None)

    assert "defocus" in found.note
    assert len(found.probe) == 2


def test_modes_that_nothing_would_refine_are_refused(partly_coherent: Scan) -> None:
    scan = first_only(partly_coherent)
    for idle in ({"refine_probe": False}, {"probe_warmup": 0, "probe_rate": 0.0}):
        with pytest.raises(ConfigError, match="probe_modes is 3, but the probe has 1, and the added modes need"):
            built(scan, probe_modes=3, **idle)  # type: ignore[arg-type]
    assert len(built(partly_coherent, probe_modes=2, refine_probe=False).objective.probe) == 2


@pytest.mark.long
def test_a_run_that_starts_from_another_may_have_more_modes(partly_coherent: Scan) -> None:
    scan = first_only(partly_coherent)
    start = built(scan, probe_warmup=0).objective

    made = built(scan, start=start, probe_modes=2).objective

    assert len(made.probe) == 2
    assert len(built(scan, start=start).objective.probe) == 1
