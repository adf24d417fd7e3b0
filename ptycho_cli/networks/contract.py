"""What training and reconstruction expect of a network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.physics.scene import Scene

Report = Callable[[int, int], None]


class Network(nn.Module):
    """From frames on canvases to objects.

    Training calls it with groups that are in memory and differentiates through it; reconstruction
    calls it without gradients, with a whole scan as one canvas. A network asks the scene for frames part
    by part (``for part in scene.parts(): frames = scene.frames(part)``), or for sums over all of them
    (``scene.back_project``), and so serves both in bounded memory. What works on canvas pixels
    goes through ``networks.blocks.in_strips``.

    A canvas must not depend on its neighbours in the batch (no BatchNorm), nor on how frames are parted.

    Attributes:
        to_polish: Whether physics alone, after the network, comes nearer to the object where photons are many; with
            False ``inference.polish`` makes no iterations unless somebody asks for them.
    """

    to_polish: ClassVar[bool] = False

    @abstractmethod
    def forward(self, scene: Scene, *, silent: bool = False, report: Report | None = None) -> Tensor:
        """Reconstruct canvases.

        Args:
            scene: The frames; their order is random and decides ordered subsets.
            silent: Leave out all that is learned: the baseline that training has to beat.
            report: Called with (done, of how many) where there are steps worth telling.

        Returns:
            Objects, complex ``(batch, y, x)``, about 1 where there is vacuum, finite where no frame was.
        """


class Starting(Network):
    """A network that starts from what the physics alone finds, without a gradient.

    Training then makes that start once a scan and epoch from all frames, and gives each group its window of
    it as ``scene.start``; where there is none the network runs the relaxation on the scene itself.

    Attributes:
        relaxation: The physics.
    """

    relaxation: Relaxation
