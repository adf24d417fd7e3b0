"""Training groups from a stream of simulated scans, each made when it is asked for and then forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.data.batch import Batch
from ptycho_cli.data.photon_thinning import InitialObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation_recipe import Recipe, simulated_scan
from ptycho_cli.geometry import split_positions

_SYMMETRIES, _ORDER = 12, 13  # first words of the random keys; see data.groups
SHUFFLED = 64  # scans that are used more than once are kept, so many at a time, and used in random order


@dataclass(eq=False)
class SimulatedGroups:
    """Groups that are whole simulated scans, each with an instrument of its own.

    The network sees counts with noise; the loss compares with the photons that the true object gives without noise, or
    with the true object.
    Group ``index`` of an epoch depends on (recipe, seed, epoch, index) alone. The first scans of the stream are kept
    for validation. Scans that are used more than once follow in blocks, each in random order.

    Attributes:
        recipe: What the scans draw from.
        n_groups: Training groups in an epoch.
        seed: Key of the stream.
        dtype: Type of real numbers.
        with_object: Whether the loss compares objects.
        make_initial_object: Finds the initial object of a scan; None where the network makes its own.
    """

    recipe: Recipe
    n_groups: int
    seed: int
    dtype: torch.dtype = torch.float32
    with_object: bool = False
    make_initial_object: Callable[[Scan], InitialObject] | None = None
    _kept: OrderedDict[int, Batch] = field(default_factory=OrderedDict, init=False)

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of every group's canvas."""
        return self.recipe.canvas()

    @property
    def patches(self) -> int:
        """Frames of a group."""
        return self.recipe.frames

    @property
    def n_validation(self) -> int:
        """Number of validation groups."""
        return self.recipe.validation_scans

    def __len__(self) -> int:
        """Training groups in an epoch."""
        return self.n_groups

    def training_group(self, epoch: int, index: int) -> Batch:
        """Group ``index`` of an epoch, as a batch of one."""
        number, use = self._drawn(epoch * self.n_groups + index)
        key = [_SYMMETRIES, self.seed, number, *([use] if use else [])]
        return replace(self._kept_batch(number), symmetries=_symmetry(key))

    def validation_group(self, index: int) -> Batch:
        """Validation group ``index``, as a batch of one; the same in every epoch."""
        return replace(self._batch(index), symmetries=_symmetry([_SYMMETRIES, self.seed, index]))

    def _drawn(self, position: int) -> tuple[int, int]:
        """Number of the scan at a position of the training, and how often it was used before."""
        if self.recipe.uses == 1:
            return self.n_validation + position, 0
        block, at = divmod(position, SHUFFLED * self.recipe.uses)
        order = np.random.default_rng([_ORDER, self.seed, block]).permutation(SHUFFLED * self.recipe.uses)
        use, scan = divmod(int(order[at]), SHUFFLED)
        return self.n_validation + block * SHUFFLED + scan, use

    def _kept_batch(self, number: int) -> Batch:
        """The batch of a scan, which is kept where the scan is used again."""
        if self.recipe.uses == 1:
            return self._batch(number)
        if number not in self._kept:
            while len(self._kept) >= SHUFFLED:
                self._kept.popitem(last=False)
            self._kept[number] = self._batch(number)
        return self._kept[number]

    def _batch(self, number: int) -> Batch:
        made = simulated_scan(self.recipe, self.seed, number)
        scan, n_frames = made.scan, self.recipe.frames
        assert scan.probe is not None
        assert scan.intensities is not None
        corners, shifts = split_positions(scan.positions_px, scan.n_pixels)
        low, high = corners.min(axis=0), corners.max(axis=0) + scan.n_pixels
        first = low - (np.array(self.canvas) - (high - low)) // 2
        initial: NDArray[np.floating] = np.zeros((3, 0, 0))
        if self.make_initial_object is not None:
            initial = self.make_initial_object(scan).cut(first, self.canvas)
        everything = torch.ones(1, n_frames, dtype=torch.bool)
        counts = self._real(scan.counts[:])
        known = self._complex(true_object(scan, first, self.canvas)) if self.with_object else torch.empty(0)
        return Batch(
            scan=torch.zeros(1, dtype=torch.int64),
            counts=counts,
            target=counts if self.with_object else self._real(made.expected * scan.mask),
            photon_fractions=torch.ones(1, 2, dtype=self.dtype),
            corners=torch.from_numpy(corners - first)[None],
            shifts=self._real(shifts),
            frames=torch.arange(n_frames)[None],
            seen=everything,
            scored=everything,
            initial_object=self._real(initial),
            symmetries=torch.zeros(1, dtype=torch.int64),
            probe=self._complex(scan.probe),
            valid=torch.from_numpy(scan.mask)[None],
            intensities=self._real(scan.intensities),
            background=torch.tensor([scan.background], dtype=self.dtype),
            true_object=known,
        )

    def _real(self, values: NDArray[np.floating] | float) -> Tensor:
        return torch.as_tensor(np.asarray(values)).to(self.dtype)[None]

    def _complex(self, values: NDArray[np.complexfloating]) -> Tensor:
        return torch.complex(self._real(values.real), self._real(values.imag))


def _symmetry(key: list[int]) -> Tensor:
    return torch.tensor([int(np.random.default_rng(key).integers(8))])


def true_object(scan: Scan, corner: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.complex64]:
    """The true object of a simulated scan on a window, ``(*shape)``, with vacuum outside the object.

    Args:
        scan: The scan; its true object lies on whole pixels.
        corner: Corner (y, x) of the window, as ``geometry.split_positions`` counts corners.
        shape: Height and width of the window.
    """
    assert scan.truth is not None
    assert scan.truth_origin_px is not None
    fields: NDArray[np.floating] = np.stack((scan.truth.real, scan.truth.imag, np.ones(scan.truth.shape)))
    real, imaginary, _ = InitialObject(fields, np.array(scan.truth_origin_px, dtype=np.int64)).cut(corner, shape)
    return np.asarray(real + 1j * imaginary, dtype=np.complex64)
