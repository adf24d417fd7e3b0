"""Photon thinning: a network sees a part of the photons, and the loss is computed on the rest; both are drawn anew.

Taking each photon with probability p splits a Poisson number into two independent ones, with rates p and
1 - p of the whole. A loss on the withheld photons therefore cannot be lowered by copying the noise of the
photons that were seen; its minimum is the object, as with a second, shorter exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_scratch import opened_scratch
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.frame_statistics import largest_of, whole_share_of
from ptycho_cli.data.scan import Scan

# First word of the random keys; see ``data.groups``.
_THINNING = 4

Counts = NDArray[Any]  # uint8, uint16 or float32


@dataclass(frozen=True, eq=False)
class InitialObject:
    """The objects that are found from a scan before the trained part of a network.

    Attributes:
        fields: Real and imaginary part of each of ``k`` objects, and photons on each pixel, ``(2k + 1, y, x)``.
        corner: Corner (y, x) of pixel (0, 0), as ``geometry.split_positions`` counts corners, int64 ``(2,)``.
    """

    fields: NDArray[np.floating]
    corner: NDArray[np.int64]

    def cut(self, corner: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.floating]:
        """Cut a window ``(2k + 1, *shape)``, with vacuum and no photons outside the objects.

        Args:
            corner: Corner (y, x) of the window, in the coordinates of ``self.corner``.
            shape: Height and width of the window.
        """
        window = np.zeros((len(self.fields), *shape), dtype=self.fields.dtype)
        window[:-1:2] = 1.0
        first = corner - self.corner
        low = np.maximum(first, 0)
        high = np.minimum(first + shape, self.fields.shape[1:])
        if (low < high).all():
            inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            onto = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
            window[:, *onto] = self.fields[:, *inside]
        return window


# (number of the scan, frames, their counts, share of the photons in them) -> initial object
MakeInitialObject = Callable[[int, NDArray[np.int64], Counts | FrameStack, float], InitialObject]


@dataclass(frozen=True, eq=False)
class DrawnInput:
    """Input of a network from one scan, of one draw of its photons.

    Attributes:
        withheld: Photons that the network does not see, ``(frame, y, x)``; None where it sees all.
        initial_object: Objects that are found from the others; None where the network makes its own.
    """

    withheld: Counts | WithheldFrames | None
    initial_object: InitialObject | None

    def split(self, counts: Counts, frames: NDArray[np.int64]) -> tuple[Counts, Counts]:
        """Photons that the network sees and those that the loss is computed on, of frames with these counts."""
        if self.withheld is None:
            return counts, counts
        if isinstance(self.withheld, WithheldFrames):
            withheld = self.withheld.of(counts, frames)
        else:
            withheld = self.withheld[frames]
        return counts - withheld, withheld


def withhold(counts: Counts, share: float, rng: np.random.Generator) -> Counts:
    """Draw the photons to withhold: each with probability ``share``.

    Of counts that are not whole, the fractional part is divided by ``share`` without chance.

    Args:
        counts: Photons, ``(frame, y, x)``.
        share: Probability, from 0 to 1.
        rng: Source of random numbers.

    Returns:
        The withheld photons, same shape and type.
    """
    withheld = np.empty_like(counts)
    for taken, frame in zip(withheld, counts, strict=True):
        taken[:] = _withhold(frame, share, rng)
    return withheld


def _withhold(frame: Counts, share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    whole = np.floor(frame)
    return np.asarray(rng.binomial(whole.astype(np.int64), share) + share * (frame - whole))


class WithheldFrames:
    """What ``withhold`` draws from frames that do not fit into memory.

    The photons are in a temporary file; where no disk has room, they are drawn again whenever frames are asked for.

    Args:
        counts: The frames.
        share: Probability, from 0 to 1.
        rng: Source of random numbers, whose state before each frame is kept.
    """

    def __init__(self, counts: FrameStack, share: float, rng: np.random.Generator) -> None:
        self._counts, self._share, self._rng = counts, share, rng
        self._states: list[tuple[int, int, int]] = []
        are_short = largest_of(counts) < 2**16 and whole_share_of(counts) == 1
        self._buffer = np.empty(counts.shape[1:], dtype=np.uint16 if are_short else np.float32)
        self._scratch = opened_scratch(counts.shape, self._buffer.dtype)
        for which, block in counts.blocks():
            for number, frame in zip(range(which.start, which.stop), block, strict=True):
                state = rng.bit_generator.state
                self._states.append((state["state"]["state"], state["has_uint32"], state["uinteger"]))
                drawn = _withhold(frame, share, rng)
                if self._scratch is not None:
                    self._scratch.write(number, drawn[None])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_scratch": None}

    def of(self, counts: Counts, frames: NDArray[np.int64]) -> Counts:
        """Withheld photons of frames with these counts, by their numbers, ``(frame, y, x)``."""
        withheld = np.empty_like(counts)
        for taken, frame, number in zip(withheld, counts, frames.tolist(), strict=True):
            if self._scratch is None or not self._scratch.read(number, self._buffer):
                taken[:] = self._drawn_again(frame, number)
            else:
                taken[:] = self._buffer
        return withheld

    def _drawn_again(self, frame: Counts, number: int) -> NDArray[np.float64]:
        state, (number_of_state, has_uint32, uinteger) = self._rng.bit_generator.state, self._states[number]
        state = {**state, "state": {**state["state"], "state": number_of_state}, "has_uint32": has_uint32,
                 "uinteger": uinteger}  # fmt: skip
        self._rng.bit_generator.state = state
        return _withhold(frame, self._share, self._rng)


@dataclass(frozen=True, eq=False)
class SubtractWithheld:
    """Leave the photons that a network sees.

    Attributes:
        withheld: The others.
        numbers: Number in the scan of each stored frame, int64 ``(frame,)``.
    """

    withheld: WithheldFrames
    numbers: NDArray[np.int64]

    @classmethod
    def of(cls, withheld: WithheldFrames, counts: FrameStack) -> SubtractWithheld:
        """The correction of a scan's frames."""
        numbers = np.zeros(counts.base.shape[0], dtype=np.int64)
        numbers[counts.base_rows] = np.arange(len(counts))
        return cls(withheld, numbers)

    def __call__(self, block: Counts, rows: NDArray[np.int64]) -> Counts:
        """Return frames of the same type."""
        return block - self.withheld.of(block, self.numbers[rows]) if len(block) else block


class DrawnInputs:
    """Inputs of a network by scan and draw; each depends on (seed, scan, draw) alone.

    The latest of each scan is kept, so ask for those of one draw together.

    Args:
        scans: All scans.
        frames: Frames of each scan that physics may use for its initial object, in ascending order.
        seed: Key of all random choices.
        share: Share of the photons that is withheld.

    Attributes:
        make_initial_object: Finds initial objects; None where the network makes its own.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        frames: Sequence[NDArray[np.int64]],
        *,
        seed: int,
        share: float,
    ) -> None:
        self._scans, self._frames = tuple(scans), tuple(frames)
        self._seed, self._share = seed, share
        self.make_initial_object: MakeInitialObject | None = None
        self._kept: dict[tuple[int, bool], tuple[int, DrawnInput]] = {}

    def drawn(self, scan: int, draw: int) -> DrawnInput:
        """Input for training from a scan, of a draw."""
        return self._get(scan, draw, whole=False)

    def for_validation(self, scan: int) -> DrawnInput:
        """Input for validation from a scan, with all photons."""
        return self._get(scan, 0, whole=True)

    def _get(self, scan: int, draw: int, *, whole: bool) -> DrawnInput:
        kept = self._kept.get((scan, whole))
        if kept is None or kept[0] != draw:
            self._kept.pop((scan, whole), None)  # its temporary file makes room
            kept = draw, self._make(scan, draw, 0.0 if whole else self._share)
            self._kept[scan, whole] = kept
        return kept[1]

    def _make(self, scan: int, draw: int, share: float) -> DrawnInput:
        counts, frames = self._scans[scan].counts, self._frames[scan]
        rng = np.random.default_rng([_THINNING, self._seed, scan, draw])
        seen: Counts | FrameStack
        withheld: Counts | WithheldFrames | None = None
        if isinstance(counts, FrameStack):
            seen = counts
            if share > 0:
                withheld = WithheldFrames(counts, share, rng)
                seen = counts.then(SubtractWithheld.of(withheld, counts))
            seen = seen.select(frames)
        else:
            withheld = withhold(counts, share, rng) if share > 0 else None
            seen = counts
        if self.make_initial_object is None:
            return DrawnInput(withheld, None)
        if isinstance(seen, np.ndarray):
            seen = DrawnInput(withheld, None).split(seen[frames], frames)[0]
        return DrawnInput(withheld, self.make_initial_object(scan, frames, seen, 1.0 - share))
