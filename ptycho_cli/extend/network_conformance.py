"""Promises that every network keeps, as a pytest class for the tests of a plugin.

Three lines test a network::

    class TestMine(NetworkConformance):
        entry = MINE
        options = ({}, {"width": 4})

Each promise is a test of its own. The tests simulate a few frames in double precision, so no run and no scan is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from ptycho_cli.extend.conformance import ConfigurableConformance
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry
from ptycho_cli.physics.back_projection import batch_rate
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.frame_source import FrameSource, GroupFrameSource, ScanFrameSource
from ptycho_cli.physics.frame_tensors import FrameBatch, ScanFrames
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.probe import shift_waves

N_PIXELS, N_FRAMES, CANVAS = 16, 12, (40, 36)


def small_probe() -> Tensor:
    """A tilted Gaussian probe of some ten thousand photons, complex ``(1, y, x)``."""
    step = torch.arange(N_PIXELS, dtype=torch.float64) - N_PIXELS // 2
    return 30 * torch.exp(-(step[:, None] ** 2 + step**2) / 18 + 0.1j * step)[None]


def small_scans(batch: int) -> list[ScanFrames]:
    """Frames of one or two random phase objects, on canvases with a margin outside all frames."""
    rng = torch.Generator().manual_seed(2)
    corners = torch.randint(2, min(CANVAS) - N_PIXELS - 2, (2, N_FRAMES, 2), generator=rng)
    shifts = torch.rand(2, N_FRAMES, 2, dtype=torch.float64, generator=rng) - 0.5
    phase = torch.rand(2, *CANVAS, dtype=torch.float64, generator=rng)
    blank = [
        ScanFrames(torch.ones(N_FRAMES, N_PIXELS, N_PIXELS, dtype=torch.float64), corners[i], shifts[i], CANVAS)
        for i in range(batch)
    ]
    objects = torch.exp(1j * phase)
    return [
        replace(scan, amplitude=expected_rate(scan, obj, small_probe()).sqrt())
        for scan, obj in zip(blank, objects, strict=False)
    ]


def small_source(batch: int = 2) -> GroupFrameSource:
    """The frames of ``small_scans`` as in training: one canvas for each scan."""
    scans = small_scans(batch)
    frames = FrameBatch(
        torch.stack([scan.measured() for scan in scans]),
        torch.stack([scan.corners for scan in scans]),
        shift_waves(small_probe(), torch.stack([scan.shifts for scan in scans])),
    )
    return GroupFrameSource(frames, CANVAS, small_probe().abs().square().max().expand(batch, 1, 1))


def misfit(source: FrameSource, obj: Tensor) -> Tensor:
    """Mean squared difference of amplitudes."""
    frames = source.frames(slice(None))
    return (batch_rate(obj, frames).sqrt() - frames.amplitude).square().mean()


class NetworkConformance(ConfigurableConformance):
    """Subclass it, name it ``Test...`` and set ``entry``; ``options`` lists the choices to try."""

    entry: ClassVar[NetworkEntry]

    def _networks(self, *, alpha: float = 0.5) -> Iterator[nn.Module]:
        for model in self._models():
            torch.manual_seed(0)
            yield self.entry.build(NetworkContext(N_PIXELS, ObjectUpdate(alpha)), model).double()

    def _trained(self) -> Iterator[nn.Module]:
        """Networks with every weight changed, so that no layer is zero."""
        for network in self._networks():
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for weights in network.parameters():
                    weights.add_(0.02 * torch.randn(weights.shape, generator=generator, dtype=weights.dtype))
            yield network

    def test_the_factory_returns_a_network_with_one_finite_object_for_each_canvas(self) -> None:
        """Complex, of the shape of the canvases, and finite also outside all frames."""
        source = small_source()
        for network in self._networks():
            assert isinstance(network, nn.Module), f"build returned {network!r}, expected a torch.nn.Module"
            for physics_only in (False, True):
                obj = network(source, physics_only=physics_only)
                assert obj.is_complex(), f"the object is of {obj.dtype}, expected complex numbers"
                assert obj.shape == source.shape, f"the object is {tuple(obj.shape)}, expected {source.shape}"
                assert bool(obj.isfinite().all()), "the object is not finite everywhere"

    def test_a_canvas_does_not_depend_on_its_neighbours_in_the_batch(self) -> None:
        """Otherwise results would depend on the batch, and accumulated batches would differ from one large batch."""
        for network in self._trained():
            together, alone = network(small_source(2)), network(small_source(1))
            torch.testing.assert_close(together[:1], alone, msg="a canvas changes with the others of its batch")

    def test_frames_in_parts_give_the_same_object_as_all_frames_at_once(self) -> None:
        """Reconstruction of a whole scan computes the same as training does on a group."""
        (scan,) = small_scans(1)
        for network in self._trained():
            with torch.inference_mode():
                at_once = network(small_source(1))
                in_parts = network(ScanFrameSource(scan, small_probe(), frames_at_once=5))
            torch.testing.assert_close(in_parts, at_once, msg="the object depends on how many frames fit into memory")

    def test_physics_only_leaves_out_everything_that_is_learned(self) -> None:
        """``ptycho infer --untrained`` gives the same baseline for all weights."""
        source = small_source()
        for network, trained in zip(self._networks(), self._trained(), strict=True):
            physics_only = network(source, physics_only=True)
            torch.testing.assert_close(
                trained(source, physics_only=True), physics_only, msg="the physics-only result depends on the weights"
            )
            assert not torch.allclose(trained(source), physics_only), "the weights change nothing"

    def test_every_weight_learns_within_three_steps(self) -> None:
        """A layer that starts at zero keeps gradients from the layers before it, but only for one step.

        Weights without ``requires_grad`` are those that training leaves as they are.
        """
        source = small_source()
        for network in self._networks():
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
            for _ in range(3):
                optimizer.zero_grad()
                misfit(source, network(source)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
            idle = [name for name, p in named if p.grad is None or not bool(p.grad.abs().max() > 0)]
            assert not idle, f"no gradient reaches {', '.join(idle)}"
            assert all(bool(p.isfinite().all()) for p in network.parameters()), "training leaves weights not finite"

    def test_loaded_weights_give_the_same_network_for_any_initial_alpha(self) -> None:
        """Weights are loaded into a network that was built with alpha 1."""
        source = small_source()
        for trained, again in zip(self._trained(), self._networks(alpha=1.0), strict=True):
            again.load_state_dict(trained.state_dict())
            for physics_only in (False, True):
                message = "what depends on alpha is not in the weights; keep it in a buffer"
                torch.testing.assert_close(
                    again(source, physics_only=physics_only), trained(source, physics_only=physics_only), msg=message
                )

    def test_progress_reaches_its_end(self) -> None:
        """A network that reports progress reports at the end that all is done."""
        for network in self._networks():
            reports: list[tuple[int, int]] = []
            with torch.inference_mode():
                network(small_source(1), progress=lambda done, of: reports.append((done, of)))  # noqa: B023
            assert not reports or reports[-1][0] == reports[-1][1], f"the last report is {reports[-1]}"
