"""Laws of the forward model, the likelihood and the physics step."""

import math

import pytest
import torch
from torch import Tensor

from ptycho_cli.errors import ShapeError
from ptycho_cli.physics.back_projection import back_project
from ptycho_cli.physics.forward import back_to_object, exit_waves, expected_rate, illumination, rates
from ptycho_cli.physics.frame_tensors import FrameBatch, ScanFrames
from ptycho_cli.physics.likelihood import MIN_RATE, amplitude_error, poisson_deviance
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.patches import SLICE_FROM_PX, gather, scatter
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.physics.probe import scale_probe, shift_waves, sum_shifted_back
from ptycho_cli.physics.propagation import back_propagate, propagate


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def noise(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=rng)


def smooth_probe(size: int = 16, modes: int = 1) -> Tensor:
    """A band-limited probe, well inside its frame."""
    step = torch.arange(size, dtype=torch.float64) - size // 2
    width = size / 8
    spot = torch.exp(-(step[:, None] ** 2 + step**2) / (2 * width**2)) * torch.exp(0.1j * step)
    return torch.stack([spot * (step / width) ** mode for mode in range(modes)]) * 100


@pytest.mark.parametrize("size", [8, SLICE_FROM_PX])
def test_scatter_is_the_adjoint_of_gather(rng: torch.Generator, size: int) -> None:
    """<gather(u), v> = <u, scatter(v)>, also where patches overlap or coincide; small patches go by index."""
    corners, shape = torch.tensor([[[0, 0], [3, 5], [8, 8], [0, 0]]]), (1, size + 8, size + 10)
    u, v = noise(*shape, rng=rng), noise(1, 4, size, size, rng=rng)

    gathered, scattered = gather(u, corners, size), scatter(v, corners, shape)

    assert gathered.shape == v.shape
    assert scattered.shape == u.shape
    torch.testing.assert_close(
        torch.vdot(gathered.flatten(), v.flatten()), torch.vdot(u.flatten(), scattered.flatten())
    )


@pytest.mark.parametrize("size", [8, SLICE_FROM_PX])
def test_batched_patches_stay_on_their_own_canvas(rng: torch.Generator, size: int) -> None:
    corners = torch.tensor([[[0, 0], [2, 3]], [[4, 4], [1, 0]]])
    canvases = noise(2, size + 4, size + 5, rng=rng)

    patches = gather(canvases, corners, size)

    for batch in range(2):
        alone = scatter(patches[batch, None], corners[batch, None], (1, *canvases.shape[1:]))
        torch.testing.assert_close(scatter(patches, corners, canvases.shape)[batch, None], alone)
        for patch, (y, x) in enumerate(corners[batch].tolist()):
            torch.testing.assert_close(patches[batch, patch], canvases[batch, y : y + size, x : x + size])


@pytest.mark.parametrize("size", [8, SLICE_FROM_PX])
def test_a_patch_outside_its_canvas_is_refused(size: int) -> None:
    for corner in ([-1, 0], [0, 5]):
        with pytest.raises(ShapeError, match="outside its canvas"):
            gather(torch.zeros(1, size + 4, size + 4), torch.tensor([[corner]]), size)


def test_gradients_of_gather_and_scatter_are_each_other(rng: torch.Generator) -> None:
    corners = torch.tensor([[[0, 0], [1, 2]]])
    canvas = noise(1, 5, 5, rng=rng).requires_grad_()
    patches = noise(1, 2, 3, 3, rng=rng).requires_grad_()

    assert torch.autograd.gradcheck(lambda c: gather(c, corners, 3), canvas)
    assert torch.autograd.gradcheck(lambda p: scatter(p, corners, (1, 5, 5)), patches)


def test_propagation_keeps_photons_and_is_undone_by_its_adjoint(rng: torch.Generator) -> None:
    field, other = noise(2, 9, 8, rng=rng), noise(2, 9, 8, rng=rng)

    far = propagate(field)

    torch.testing.assert_close(far.abs().square().sum(), field.abs().square().sum())
    torch.testing.assert_close(back_propagate(far), field)
    torch.testing.assert_close(
        torch.vdot(far.flatten(), other.flatten()), torch.vdot(field.flatten(), back_propagate(other).flatten())
    )


def test_a_tilted_wave_meets_the_detector_on_the_positive_side() -> None:
    """Fixes the sign of the propagator: a wave whose phase grows along +x arrives at larger x."""
    n, k = 16, 3
    x = torch.arange(n, dtype=torch.float64)
    tilted = torch.exp(2j * math.pi * k * x / n).expand(n, n)

    far = propagate(tilted[None])[0].abs()

    assert divmod(int(far.argmax()), n) == (n // 2, n // 2 + k)


def test_shifting_a_probe_keeps_its_photons_and_adds_up() -> None:
    probe = smooth_probe(modes=2)
    shifts = torch.tensor([[0.3, -0.45], [0.5, 0.2]], dtype=torch.float64)

    shifted = shift_waves(probe, shifts)

    assert shifted.shape == (2, 2, 16, 16)
    torch.testing.assert_close(shifted.abs().square().sum((1, 2, 3)), probe.abs().square().sum().expand(2))
    torch.testing.assert_close(shift_waves(shifted, -shifts), probe.expand(2, -1, -1, -1))
    waves = noise(2, *probe.shape, rng=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sum_shifted_back(waves, shifts), shift_waves(waves, -shifts).sum(0))
    whole = shift_waves(probe, torch.tensor([[1.0, -2.0]], dtype=torch.float64))[0]
    torch.testing.assert_close(whole, torch.roll(probe, (1, -2), dims=(-2, -1)))


def test_a_vacuum_frame_counts_the_photons_of_the_probe() -> None:
    probe = scale_probe(smooth_probe(modes=2), 5000.0)
    vacuum = torch.ones(20, 20, dtype=torch.complex128)

    rate = rates(vacuum, probe, torch.tensor([[1, 2]]), torch.tensor([[0.2, 0.4]], dtype=torch.float64))

    torch.testing.assert_close(rate.sum(), torch.tensor(5000.0, dtype=torch.float64))
    assert divmod(int(rate[0].argmax()), 16) == (8, 8)


def test_rates_ignore_a_global_phase_and_a_common_shift(rng: torch.Generator) -> None:
    obj, probe = noise(24, 24, rng=rng), smooth_probe()
    corners, shifts = torch.tensor([[2, 3], [5, 1]]), torch.tensor([[0.1, 0.2], [-0.3, 0.4]], dtype=torch.float64)

    rate = rates(obj, probe, corners, shifts)

    turned = rates(obj * torch.exp(torch.tensor(0.7j)), probe, corners, shifts)
    moved = rates(torch.roll(obj, (3, 2), dims=(0, 1)), probe, corners + torch.tensor([3, 2]), shifts)
    torch.testing.assert_close(turned, rate)
    torch.testing.assert_close(moved, rate)


def test_modes_add_in_intensity(rng: torch.Generator) -> None:
    obj, probe = noise(16, 16, rng=rng), smooth_probe(modes=3)
    corners, shifts = torch.tensor([[0, 0]]), torch.zeros(1, 2, dtype=torch.float64)

    together = rates(obj, probe, corners, shifts)

    apart = sum(rates(obj, mode[None], corners, shifts) for mode in probe)
    torch.testing.assert_close(together, apart)


def test_a_subpixel_position_equals_the_object_moved_the_other_way() -> None:
    """|F{P(. - f) O}| = |F{P O(. + f)}|: the probe carries the rest exactly for a band-limited object."""
    probe, obj = smooth_probe(32), 1 + 0.01 * smooth_probe(32)[0]
    fraction = torch.tensor([[0.37, -0.21]], dtype=torch.float64)
    corner = torch.tensor([[0, 0]])

    through_probe = rates(obj, probe, corner, fraction)

    through_object = rates(shift_waves(obj[None], -fraction)[0, 0], probe, corner, torch.zeros_like(fraction))
    torch.testing.assert_close(through_probe, through_object, rtol=1e-6, atol=1e-3)


def test_rates_can_be_differentiated_in_object_probe_and_positions(rng: torch.Generator) -> None:
    obj, probe = noise(8, 8, rng=rng).requires_grad_(), noise(2, 6, 6, rng=rng).requires_grad_()
    shifts = torch.tensor([[0.1, -0.3], [0.2, 0.4]], dtype=torch.float64, requires_grad=True)
    corners = torch.tensor([[0, 1], [2, 0]])

    assert torch.autograd.gradcheck(lambda o, p, s: rates(o, p, corners, s), (obj, probe, shifts))


def test_deviance_is_zero_at_the_counts_and_half_at_the_noise_floor() -> None:
    counts = torch.poisson(torch.full((200_000,), 400.0, dtype=torch.float64), torch.Generator().manual_seed(1))

    assert float(poisson_deviance(counts, counts - MIN_RATE).abs().max()) < 1e-9
    assert float(poisson_deviance(counts, torch.full_like(counts, 400.0)).mean()) == pytest.approx(0.5, abs=0.01)
    assert float(amplitude_error(counts, torch.full_like(counts, 400.0)).mean()) == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize("loss", [poisson_deviance, amplitude_error])
def test_losses_are_least_where_the_rate_is_the_count(loss: object) -> None:
    counts = torch.tensor([0.0, 1.0, 7.0, 300.0], dtype=torch.float64)
    rate = (counts + 0.5 - MIN_RATE).requires_grad_()

    (gradient,) = torch.autograd.grad(loss(counts, rate).sum(), rate)  # type: ignore[operator]

    assert bool((gradient > 0).all())  # above the counts the loss grows
    assert bool(torch.isfinite(torch.autograd.grad(loss(counts, rate * 0).sum(), rate)[0]).all())  # type: ignore[operator]


def test_losses_refuse_shapes_that_differ() -> None:
    with pytest.raises(ShapeError, match=r"'counts' is \(3,\), but 'rate' is \(4,\)"):
        poisson_deviance(torch.ones(3), torch.ones(4))


def scan_of(obj: Tensor, probe: Tensor, step: int) -> ScanFrames:
    n = probe.shape[-1]
    places = torch.arange(0, obj.shape[0] - n + 1, step)
    corners = torch.cartesian_prod(places, places)
    shifts = torch.rand(len(corners), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 0.5
    amplitude = torch.fft.ifftshift(rates(obj, probe, corners, shifts), dim=(-2, -1)).sqrt()
    return ScanFrames(amplitude, corners, shifts, (obj.shape[0], obj.shape[1]))


def test_back_to_object_is_the_adjoint_of_the_exit_waves(rng: torch.Generator) -> None:
    """<P O[c], v> = <O, sum conj(P) v>, with overlap, several modes and padding."""
    obj, probe = noise(2, 16, 18, rng=rng), noise(3, 8, 8, rng=rng)
    corners = torch.tensor([[[0, 0], [3, 5], [8, 8]], [[1, 2], [1, 2], [4, 0]]])
    present = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    probes = probe.expand(2, 3, -1, -1, -1)
    frames = FrameBatch(torch.ones(2, 3, 8, 8), corners, probes, present=present)
    waves = noise(2, 3, 3, 8, 8, rng=rng)

    there = exit_waves(frames.patches(obj), frames.probes) * present[..., None, None, None]
    back = back_to_object(waves, frames, obj.shape)

    assert there.shape == waves.shape
    assert back.shape == obj.shape
    torch.testing.assert_close(torch.vdot(there.flatten(), waves.flatten()), torch.vdot(obj.flatten(), back.flatten()))


def test_the_truth_is_a_fixed_point_of_the_physics_step(rng: torch.Generator) -> None:
    obj, probe = torch.exp(1j * torch.rand(32, 32, dtype=torch.float64, generator=rng)), smooth_probe()
    scan = scan_of(obj, probe, 4)
    probes = shift_waves(probe, scan.shifts)[None]

    data = FrameBatch(scan.amplitude[None], scan.corners[None], probes)
    update = back_project(obj[None], data) / (illumination(data, (1, *obj.shape)) + 1.0)

    assert float(update.abs().max()) < 1e-6


def test_padding_and_invalid_pixels_have_no_effect(rng: torch.Generator) -> None:
    obj, probe = torch.exp(1j * torch.rand(32, 32, dtype=torch.float64, generator=rng)), smooth_probe()
    scan = scan_of(obj, probe, 4)
    vacuum = torch.ones_like(obj)[None]
    probes = shift_waves(probe, scan.shifts)[None]
    valid = (torch.rand(16, 16, dtype=torch.float64, generator=rng) > 0.1).double()
    present = (torch.arange(len(scan.amplitude)) < 20)[None].double()

    def update(amplitude: Tensor, frames: slice) -> tuple[Tensor, Tensor]:
        data = FrameBatch(amplitude[None], scan.corners[None], probes, valid, present).subset(frames)
        return back_project(vacuum, data), illumination(data, vacuum.shape)

    spoilt = torch.where(valid > 0, scan.amplitude, 1e4)
    spoilt[20:] = 77.0
    torch.testing.assert_close(update(spoilt, slice(None)), update(scan.amplitude, slice(0, 20)))


def test_the_pie_recovers_object_and_probe_from_a_rough_guess(rng: torch.Generator) -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    obj = torch.exp(0.8j * (torch.sin(y / 3) * torch.cos(x / 4)).double())
    probe = smooth_probe()
    scan = scan_of(obj, probe, 2)
    # A wrong defocus; the object would compensate for a wrong position or scale.
    rough = probe * torch.exp(0.08j * (torch.arange(16.0, dtype=torch.float64) - 8).square())
    vacuum = torch.ones_like(obj)

    def misfit(o: Tensor, p: Tensor) -> float:
        return float((expected_rate(scan, o, p).sqrt() - scan.amplitude).abs().sum() / scan.amplitude.sum())

    fixed, _ = run_pie(scan, vacuum, rough, iterations=20, update=ObjectUpdate(0.1))
    refined, better = run_pie(scan, vacuum, rough, iterations=20, update=ObjectUpdate(0.1), probe_step=1.0)

    assert misfit(refined, better) < 0.2 * misfit(fixed, rough)
    assert misfit(refined, better) < 0.01
