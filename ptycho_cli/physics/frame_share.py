"""Shares of the frames of a scan, one for each of several processes, and sums over all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FrameShare:
    """The share of the frames that one process computes with.

    Attributes:
        rank: Number of the process, from 0.
        processes: Number of processes.
    """

    rank: int = 0
    processes: int = 1

    def frames(self, n_frames: int) -> range:
        """Numbers of the frames of this process, of ``n_frames`` in all."""
        return range(n_frames * self.rank // self.processes, n_frames * (self.rank + 1) // self.processes)

    def within(self, which: slice, n_frames: int) -> slice:
        """Those of the frames ``which`` that are in the share."""
        chosen, own = range(n_frames)[which], self.frames(n_frames)
        ends = (-((chosen.start - end) // chosen.step) for end in (own.start, own.stop))
        first, last = (min(max(0, end), len(chosen)) for end in ends)
        part = chosen[first:last]
        return slice(part.start, part.stop, part.step)

    def total(self, found: Tensor) -> Tensor:
        """Sum of what each process found, on all of them alike; of one process what it found."""
        if self.processes == 1:
            return found
        summed = found.contiguous()
        torch.distributed.all_reduce(torch.view_as_real(summed) if summed.is_complex() else summed)
        return summed


ALONE = FrameShare()
