"""How many frames are computed at once, and what is computed a second time so that less is kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Most frames whose exit waves are in memory at once, and most complex pixels of these waves. On a CPU
# more of them do not fit into its caches: 256 frames of 128 px with three modes took three times as long as 16 by 16.
FRAMES_AT_ONCE, PIXELS_AT_ONCE, PIXELS_AT_ONCE_CPU = 256, 2**22, 2**20


def waves_at_once(probe: Tensor) -> int:
    """Frames whose exit waves may be in memory at once, if each has as many as a probe ``(..., y, x)`` has pixels."""
    most = PIXELS_AT_ONCE_CPU if probe.device.type == "cpu" else PIXELS_AT_ONCE
    return max(4, min(FRAMES_AT_ONCE, most // probe.numel()))


def in_parts(chosen: range, at_once: int) -> Iterator[slice]:
    """Split frames into slices of up to ``at_once``."""
    for first in range(0, len(chosen), at_once):
        part = chosen[first : first + at_once]
        yield slice(part.start, part.stop, part.step)


def computed_again(step: Callable[..., Tensor], *arguments: object) -> Tensor:
    """The result of a step without random numbers, which a gradient computes again, so that less is kept in memory.

    Args:
        step: A function of the arguments.
        arguments: Tensors, or what holds them.
    """
    if not torch.is_grad_enabled():  # the first checkpoint imports a compiler, a second of CPU time
        return step(*arguments)
    return checkpoint(step, *arguments, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]
