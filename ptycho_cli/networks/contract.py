"""The interface of networks: what training and reconstruction expect of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.progress_callback import Progress


class Network(nn.Module):
    """A network from measured frames on canvases to objects.

    Training calls it with groups of frames that are in memory and differentiates through it. Reconstruction calls it
    without gradients, with a whole scan on one canvas. A network serves both in bounded memory if it asks the source
    for its frames in parts (``for part in source.parts(): frames = source.frames(part)``) or for sums over all frames
    (``source.back_project``), and applies CNNs to canvases through ``networks.blocks.in_strips``.

    The object on a canvas must depend neither on the other canvases of the batch (no BatchNorm) nor on the division
    into parts.

    Attributes:
        polish_by_default: Whether ``inference.polish = auto`` runs iterations of physics alone after the network. With
            False there are none unless the user sets their number.
    """

    polish_by_default: ClassVar[bool] = False

    @abstractmethod
    def forward(self, source: FrameSource, *, physics_only: bool = False, progress: Progress | None = None) -> Tensor:
        """Reconstruct canvases.

        Args:
            source: The frames, in random order.
            physics_only: Leave out everything that is learned. The result is the baseline that training improves on.
            progress: Called with (steps done, steps in all), if the network counts steps.

        Returns:
            Objects, complex ``(batch, y, x)``, about 1 in vacuum and finite everywhere.
        """

    def transferable_state(self) -> dict[str, Tensor]:
        """What of the state suits any scan, by name; values that follow from the dose of a scan must not be in it."""
        return dict(self.state_dict())

    def load_transferable_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what ``transferable_state`` of a network with the same options returned.

        Raises:
            RuntimeError: If names or shapes differ.
        """
        self.load_state_dict(dict(state))


class PhysicsInitialised(Network):
    """A network that corrects initial objects, which are found without gradients, by physics at first.

    Training computes the initial objects of a scan whenever photons are withheld anew, from all its frames, and gives
    each group its window of them as ``source.initial``. Where there are none, the network finds them from the source.

    Attributes:
        relaxation: The physics that begins.
    """

    relaxation: Relaxation

    def start(self, source: FrameSource, progress: Progress | None = None) -> tuple[Tensor, Tensor]:
        """Find the initial objects, which no weight that training changes may alter.

        Args:
            source: The frames, in random order.
            progress: Called with (steps done, steps in all).

        Returns:
            Objects, complex ``(batch, k, y, x)``, and the photons on their pixels, real ``(batch, y, x)``. The first
            of the ``k`` objects is corrected; the network sees the others, too.
        """
        obj, photons = self.relaxation(source, progress)
        return obj[:, None], photons
