"""The loss of a training, and the values of 'auto'."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho_cli.assembly.build import Assembled, build
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.scans import read_scans
from ptycho_cli.assembly.weights import load_weights, save_weights
from ptycho_cli.calibration.auto_rules import auto_alpha, auto_withheld
from ptycho_cli.calibration.probe_refinement import refine_probe
from ptycho_cli.calibration.scan_canvas import canvas_origin, frame_photons, scan_frames
from ptycho_cli.config.data_settings import DataSettings
from ptycho_cli.config.schema import Config, ExecutionSettings, LossSettings, ModelSettings, PhysicsSettings
from ptycho_cli.data.batch import collate
from ptycho_cli.data.dose import typical_rate
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import CheckpointError
from ptycho_cli.extend.specs import NetworkEntry
from ptycho_cli.geometry import split_positions
from ptycho_cli.networks import blocks
from ptycho_cli.networks.entries import REFINER, UNROLLED, RefinerOptions, UnrolledOptions
from ptycho_cli.physics import frame_parts, frame_source
from ptycho_cli.physics.forward import detector_intensity, exit_waves, expected_rate
from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.object_update import ObjectUpdate

SMALL = ModelSettings(options=UnrolledOptions(stages=2, subsets=2, width=4))


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulate(n_frames=80, n_pixels=32, photons=1e6, seed=1)


def assembled(scan: Scan, network: NetworkEntry = UNROLLED, **changes: object) -> Assembled:
    settings = {
        "model": SMALL,
        "data": DataSettings(group_size=12),
        "execution": ExecutionSettings(precision="64-true"),
    }
    return build(Config(**{**settings, **changes}), (scan,), network=network)  # type: ignore[arg-type]


def test_the_loss_of_a_group_does_not_depend_on_its_batch(scan: Scan) -> None:
    made = assembled(scan)
    groups = [made.groups.training_group(0, i) for i in range(3)]
    groups.append(made.groups.validation_group(0))  # fewer scored frames than the others

    together = made.objective(collate(groups))

    apart = torch.cat([made.objective(group) for group in groups])
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=0)


@pytest.mark.parametrize("withheld", [0.0, 0.3])
@pytest.mark.parametrize("refined", [False, True], ids=["unrolled", "refiner"])
def test_groups_of_large_frames_have_the_same_loss_and_gradient(
    scan: Scan, monkeypatch: pytest.MonkeyPatch, refined: bool, withheld: float
) -> None:
    """Their frames are used in parts, and most of what a gradient needs is computed again."""
    refiner = ModelSettings(name="refiner", options=RefinerOptions(physics_stages=4, width=4, levels=2))
    loss = LossSettings(withheld=withheld)
    made = assembled(scan, REFINER, model=refiner, loss=loss) if refined else assembled(scan, loss=loss)
    batch = collate([made.groups.training_group(0, 0), made.groups.validation_group(0)])

    def loss_and_gradient() -> list[torch.Tensor]:
        made.objective.zero_grad()
        loss = made.objective(batch)
        loss.sum().backward()
        return [loss.detach(), *(p.grad.clone() for p in made.objective.parameters() if p.grad is not None)]

    small = loss_and_gradient()
    monkeypatch.setattr(frame_parts, "PIXELS_AT_ONCE_CPU", 1)
    monkeypatch.setattr(frame_source, "KEPT_PIXELS_CPU", 4 * scan.n_pixels**2)
    monkeypatch.setattr(blocks, "KEPT_PIXELS", 0)

    torch.testing.assert_close(loss_and_gradient(), small, rtol=1e-9, atol=1e-12)


def test_the_loss_weight_mixes_the_two_likelihoods(scan: Scan) -> None:
    made = assembled(scan)
    batch = made.groups.training_group(0, 0)

    amplitude, poisson, mixed = (made.objective(batch, weight) for weight in (0.0, 1.0, 0.25))

    torch.testing.assert_close(mixed, 0.75 * amplitude + 0.25 * poisson)
    torch.testing.assert_close(made.objective(batch), poisson)
    chosen = assembled(scan, loss=LossSettings(name="amplitude"))
    torch.testing.assert_close(chosen.objective(batch), amplitude)


def test_photons_kept_from_the_network_do_not_change_its_object(scan: Scan) -> None:
    """With photons withheld, the loss is taken on photons that the network has not seen: these change only the loss."""
    made = assembled(scan, loss=LossSettings(withheld=0.25))
    batch = made.groups.training_group(0, 0)
    objects: list[torch.Tensor] = []
    made.objective.network.register_forward_hook(lambda module, inputs, obj: objects.append(obj))

    losses = [made.objective(replace(batch, target=batch.target + more)) for more in (0, 50)]

    torch.testing.assert_close(objects[0], objects[1])
    assert float(losses[1].detach()) > 2 * float(losses[0].detach())


def test_a_part_of_the_photons_is_explained_by_the_same_part_of_the_rate(scan: Scan) -> None:
    """The true object's deviance is that of noise, whatever the share, on both sides of the split."""
    known = PhysicsSettings(refine_probe=False)
    made = assembled(scan, loss=LossSettings(withheld=0.25), physics=known)
    whole = assembled(scan, loss=LossSettings(withheld=0.0), physics=known)
    thinned, full = (each.groups.training_group(0, 0) for each in (made, whole))
    assert torch.equal(thinned.counts + thinned.target, full.counts)
    assert torch.equal(full.target, full.counts)
    for objective in (made.objective, whole.objective):
        objective.network.forward = lambda source, **_: truth_on(source)  # type: ignore[method-assign]

    def truth_on(source: FrameSource) -> torch.Tensor:
        """The known object on the group's canvas, and the network's share of the rate must fit its counts."""
        assert scan.truth is not None
        assert scan.truth_origin_px is not None
        assert scan.probe is not None
        corner = split_positions(scan.positions_px, scan.n_pixels)[0][full.frames[0, 0]] - full.corners[0, 0].numpy()
        y, x = (corner - np.array(scan.truth_origin_px)).astype(int)
        height, width = source.shape[1:]
        field = np.ones((height, width), dtype=np.complex128)
        top, left = max(0, -y), max(0, -x)
        part = scan.truth[max(0, y) : y + height, max(0, x) : x + width]
        field[top : top + part.shape[0], left : left + part.shape[1]] = part
        # training scales the probe to the photons of the frames, the simulation to those of vacuum
        scale = np.linalg.norm(scan.probe) / float(torch.linalg.norm(made.objective.probe.detach()))
        obj = torch.from_numpy(field * scale)[None]
        frames = source.frames(slice(None))
        rate = detector_intensity(exit_waves(frames.patches(obj), frames.probes)).detach()
        chi = (frames.amplitude.square() - rate) / rate.clamp_min(1).sqrt()
        assert float(chi[rate > 10].square().mean()) == pytest.approx(1.0, abs=0.1)
        return obj

    for objective, batch in ((made.objective, thinned), (whole.objective, full)):
        assert 0.4 < float(objective(batch).detach()) < 0.6


def test_dead_pixels_have_no_say(scan: Scan) -> None:
    mask = np.ones_like(scan.mask)
    mask[3:5] = False
    spoilt = scan.counts.copy()
    spoilt[:, 3:5] = 4000.0

    losses = []
    for counts in (scan.counts, spoilt):
        made = assembled(replace(scan, counts=np.where(mask, counts, 0), mask=mask))
        batch = made.groups.training_group(0, 0)
        filled = torch.where(torch.from_numpy(mask), batch.counts, torch.as_tensor(float(counts[0, 3, 3])))
        losses.append(made.objective(replace(batch, counts=filled)))

    torch.testing.assert_close(losses[0], losses[1])


def test_the_probe_is_scaled_between_scans_of_different_dose(scan: Scan) -> None:
    """A scan with four times the photons explains itself as well, with the probe of the first."""
    brighter = replace(scan, counts=scan.counts * 4)
    config = Config(model=SMALL, data=DataSettings(group_size=12), loss=LossSettings(withheld=0.0))
    made = build(config, (scan, brighter), network=UNROLLED)
    group = made.groups.training_group(0, 0)
    counts = [torch.from_numpy(source.counts[group.frames[0]])[None] for source in (scan, brighter)]
    first, second = (
        replace(group, scan=torch.tensor([which]), counts=counts[which], target=counts[which]) for which in (0, 1)
    )

    amplitude = made.objective(first, 0.0), made.objective(second, 0.0)

    torch.testing.assert_close(amplitude[1], 4 * amplitude[0], rtol=5e-2, atol=0)


def test_a_good_probe_is_left_alone_and_a_rough_one_is_refined(scan: Scan) -> None:
    assert scan.probe is not None
    k = np.fft.fftfreq(32)
    rough = np.fft.ifft2(np.fft.fft2(scan.probe) * np.exp(60j * (k[:, None] ** 2 + k**2))).astype(np.complex64)
    nobody = np.array([], dtype=np.int64)

    def warm(probe: np.ndarray | None) -> int:
        given = replace(scan, probe=probe)
        return refine_probe(given, nobody, "auto", update=ObjectUpdate(0.1), seed=0, dtype=torch.float32).iterations

    assert warm(scan.probe) == 0
    assert warm(rough) > 0
    assert warm(None) > 0


def test_a_probe_is_found_where_the_file_has_none_or_a_hopeless_one(scan: Scan) -> None:
    """The defocus of the true probe, which a probe in focus never finds, is found from the mean pattern."""
    assert scan.probe is not None
    noise = np.random.default_rng(0).normal(size=(2, 1, 32, 32))
    noise_probe = (noise[0] + 1j * noise[1]).astype(np.complex64)
    for probe in (None, noise_probe):
        given = replace(scan, probe=probe)

        warm = refine_probe(
            given, np.array([], dtype=np.int64), "auto", update=ObjectUpdate(0.1), seed=0, dtype=torch.float32
        )  # fmt: skip

        found, true = np.fft.fft2(warm.probe.numpy()[0]), np.fft.fft2(scan.probe[0])
        moved = np.abs(np.fft.ifft2(found * np.conj(true))).max() * found.size  # at the best shift
        assert moved / (np.linalg.norm(found) * np.linalg.norm(true)) > 0.97
        assert "defocus" in warm.note


def test_training_cannot_give_the_probes_photons_to_the_object(scan: Scan) -> None:
    made = assembled(scan)
    before = float(made.objective.probe.detach().abs().square().sum())
    with torch.no_grad():
        made.objective.probe_pairs.mul_(3.0)

    assert float(made.objective.probe.detach().abs().square().sum()) == pytest.approx(before)
    assert before == pytest.approx(frame_photons(scan))


def test_the_truth_explains_its_own_scan(scan: Scan) -> None:
    """Corners, rests, origin and orientation agree between simulation, assembly and forward model."""
    exposure = scan_frames(scan, dtype=torch.float64)
    assert scan.truth is not None
    assert scan.truth_origin_px is not None
    assert scan.probe is not None
    y, x = (round(a - b) for a, b in zip(canvas_origin(scan), scan.truth_origin_px, strict=True))
    height, width = exposure.shape
    truth = torch.from_numpy(scan.truth[y : y + height, x : x + width].astype(np.complex128))

    rate = expected_rate(exposure, truth, torch.from_numpy(scan.probe.astype(np.complex128)))

    chi = (exposure.amplitude.square() - rate) / rate.clamp_min(1).sqrt()
    assert float(chi[rate > 10].square().mean()) == pytest.approx(1.0, abs=0.02)


def test_auto_follows_the_photons(scan: Scan) -> None:
    low = simulate(n_frames=30, n_pixels=32, photons=1e3, seed=1)

    assert typical_rate(scan) > 100 * typical_rate(low)
    assert auto_alpha(scan) < 0.2 < auto_alpha(low)


def test_only_numbers_of_photons_are_thinned_and_where_there_is_something_to_gain(scan: Scan) -> None:
    low = simulate(n_frames=30, n_pixels=32, photons=1e3, seed=1)

    assert (auto_withheld(scan, at_any_dose=False), auto_withheld(low, at_any_dose=False)) == (0.0, 0.25)
    assert auto_withheld(scan, at_any_dose=True) == 0.25
    assert auto_withheld(replace(low, counts=low.counts * 0.37), at_any_dose=True) == 0.0


def test_weights_come_back_as_they_were(scan: Scan, tmp_path: Path) -> None:
    made = assembled(scan)
    with torch.no_grad():
        for parameter in made.objective.parameters():
            parameter.add_(0.01)

    save_weights(made.objective, tmp_path / "w.safetensors", made_by="ptycho-cli 0.1.0")
    back = load_weights(tmp_path / "w.safetensors", Config(model=SMALL), UNROLLED)

    assert isinstance(back, Objective)
    for name, value in made.objective.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value, rtol=0, atol=0)


def test_equal_weights_are_equal_files_and_a_flipped_bit_is_noticed(scan: Scan, tmp_path: Path) -> None:
    made, path = assembled(scan), tmp_path / "w.safetensors"
    files = set()
    for _ in range(5):
        save_weights(made.objective, path, made_by="ptycho-cli 0.1.0")
        files.add(path.read_bytes())
    assert len(files) == 1
    (content,) = files
    rng = np.random.default_rng(0)
    for place in (*rng.integers(0, len(content), 40), *rng.integers(0, 4000, 40)):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"damaged|of the kind|does not fit"):
            load_weights(path, Config(model=SMALL), UNROLLED)


def test_weights_of_another_model_or_no_weights_are_named(scan: Scan, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match="no such file"):
        load_weights(path, Config(model=SMALL), UNROLLED)
    path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="damaged, or no weights"):
        load_weights(path, Config(model=SMALL), UNROLLED)
    save_weights(assembled(scan).objective, path, made_by="ptycho-cli 0.1.0")
    with pytest.raises(CheckpointError, match=r"does not fit the network unrolled with the options of its run.json"):
        load_weights(path, Config(model=ModelSettings(options=UnrolledOptions(stages=3))), UNROLLED)


def test_the_same_seed_gives_the_same_network(scan_file: Path) -> None:
    scans = read_scans((str(scan_file),), Config())
    first, second = (build(Config(model=SMALL), scans, network=UNROLLED).objective.state_dict() for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)
