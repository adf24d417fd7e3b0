"""What training and reconstruction expect of a network."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.progress_callback import Progress


class Network(nn.Module):
    """From frames on canvases to objects.

    Training calls it with groups that are in memory and differentiates through it; reconstruction
    calls it without gradients, with a whole scan as one canvas. A network asks the source for frames part
    by part (``for part in source.parts(): frames = source.frames(part)``), or for sums over all of them
    (``source.back_project``), and so serves both in bounded memory. What works on canvas pixels
    goes through ``networks.blocks.in_strips``.

    A canvas must not depend on its neighbours in the batch (no BatchNorm), nor on how frames are parted.

    Attributes:
        polish_by_default: Whether ``inference.polish = auto`` runs iterations of physics alone after the network. With
            False there are none unless the user sets their number.
    """

    polish_by_default: ClassVar[bool] = False

    @abstractmethod
    def forward(self, source: FrameSource, *, physics_only: bool = False, progress: Progress | None = None) -> Tensor:
        """Reconstruct canvases.

        Args:
            source: The frames; their order is random and decides ordered subsets.
            physics_only: Leave out all that is learned: the baseline that training has to beat.
            progress: Called with (steps done, of how many), if the network counts steps.

        Returns:
            Objects, complex ``(batch, y, x)``, about 1 where there is vacuum, finite where no frame was.
        """


class PhysicsInitialised(Network):
    """A network that starts from what the physics alone finds, without a gradient.

    Training then makes that start once a scan and epoch from all frames, and gives each group its window of
    it as ``source.start``; where there is none the network runs the relaxation on the source itself.

    Attributes:
        relaxation: The physics.
    """

    relaxation: Relaxation
