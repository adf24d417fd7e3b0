"""Relaxation: physics alone with momentum over ordered subsets, run until the object hardly changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor

from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.progress_callback import Progress

UPDATE = ObjectUpdate(alpha=4.0)  # with momentum, the best alpha hardly depends on the dose


@dataclass(frozen=True, slots=True)
class Relaxation:
    """``V <- momentum V + U``, ``O <- O + V`` over ordered subsets, where ``U`` is the regularised update.

    The update is that of the gradient of the Poisson likelihood (``physics.object_update.likelihood_gradient``), which
    has no bias where a pixel counts few photons. Momentum compensates for the small steps of a large ``alpha``, and a
    large alpha keeps momentum stable.

    Attributes:
        stages: Number of steps, each over one subset; 0 returns the start.
        subsets: Number of ordered subsets; step k uses every ``subsets``-th frame, from ``k % subsets``.
        momentum: Share of a step that is added to the next, below 1.
        update: The regularised update of a step.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736 (momentum: section 2.C there).
    """

    stages: int = 96
    subsets: int = 4
    momentum: float = 0.9
    update: ObjectUpdate = UPDATE

    @torch.no_grad()
    def __call__(
        self, source: FrameSource, progress: Progress | None = None, *, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return objects, complex ``(batch, y, x)``, and the photons on their pixels, real ``(batch, y, x)``.

        Args:
            source: The frames.
            progress: Called with (steps done, steps in all).
            start: Objects to begin with; None for vacuum.
        """
        obj = source.vacuum() if start is None else start
        for stage, obj in zip(range(self.stages), self.objects(source, start), strict=False):  # noqa: B007
            if progress is not None:
                progress(stage + 1, self.stages)
        return obj, torch.stack([source.illumination(which) for which in self._subsets(source)]).sum(0)

    @torch.no_grad()
    def objects(self, source: FrameSource, start: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the objects after 1, 2, 3, ... steps from a start, by default vacuum, without end."""
        subsets, obj = self._subsets(source), source.vacuum() if start is None else start
        velocity = torch.zeros_like(obj)
        for which in cycle(subsets):
            change, photons = source.likelihood_gradient(obj, which), source.illumination(which)
            velocity = self.momentum * velocity + self.update(obj, change, photons, source.peak)
            obj = obj + velocity
            yield obj

    def _subsets(self, source: FrameSource) -> list[slice]:
        """Return the ordered subsets; fewer if there are fewer frames, so that none is empty."""
        return [slice(k, None, self.subsets) for k in range(min(self.subsets, max(1, source.n_frames)))]
