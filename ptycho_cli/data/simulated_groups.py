"""Training groups from a stream of simulated scans, each made when it is asked for and then forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.data.batch import Batch
from ptycho_cli.data.photon_thinning import InitialObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation_recipe import Recipe, simulated_scan
from ptycho_cli.geometry import split_positions

_SYMMETRIES = 12  # first word of the random keys; see data.groups


@dataclass(eq=False)
class SimulatedGroups:
    """Groups that are whole simulated scans, each with an instrument of its own.

    The network sees counts with noise; the loss compares with the photons that the true object gives without noise, or
    with the true object.
    Group ``index`` of an epoch depends on (recipe, seed, epoch, index) alone. The first scans of the stream are kept
    for validation.

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
        return self._batch(self.n_validation + epoch * self.n_groups + index)

    def validation_group(self, index: int) -> Batch:
        """Validation group ``index``, as a batch of one; the same in every epoch."""
        return self._batch(index)

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
        symmetry = int(np.random.default_rng([_SYMMETRIES, self.seed, number]).integers(8))
        everything = torch.ones(1, n_frames, dtype=torch.bool)
        known = self._complex(true_object(scan, first, self.canvas)) if self.with_object else torch.empty(0)
        return Batch(
            scan=torch.zeros(1, dtype=torch.int64),
            counts=self._real(scan.counts[:]),
            target=self._real(made.expected * scan.mask),
            photon_fractions=torch.ones(1, 2, dtype=self.dtype),
            corners=torch.from_numpy(corners - first)[None],
            shifts=self._real(shifts),
            frames=torch.arange(n_frames)[None],
            seen=everything,
            scored=everything,
            initial_object=self._real(initial),
            symmetries=torch.tensor([symmetry]),
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
