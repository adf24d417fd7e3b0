"""Groups of neighbouring frames, each on its own canvas, on which a network is trained.

The frames of a group depend on (seed, epoch, index) alone, so neither the batch size, nor the number of
workers or ranks, nor a resume changes what is computed from a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho_cli.data.batch import Batch
from ptycho_cli.data.photon_thinning import DrawnInput, DrawnInputs, MakeInitialObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import DataError, ShapeError
from ptycho_cli.geometry import canvas_shape, split_positions

# First number of every random key, so that no two purposes share a stream of random numbers.
_HELD_OUT, _TRAINING = 1, 2
_PADDING = -1
USES_OF_A_DRAW = 25  # of each frame; with more, a network learns the noise of the draw (docs/lab/low_dose.md)
SCORED_SHARE = 0.75  # of the held-out frames, at least, that validation groups score

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Group:
    """One group as indices.

    Attributes:
        scan: Index of its scan.
        frames: Indices of its frames, ``(patch,)``.
        seen: Frames that the network may see, ``(patch,)``.
        scored: Frames that the loss is computed on, ``(patch,)``.
        symmetry: Index of the symmetry of a square in which the network sees it.
    """

    scan: int
    frames: Indices
    seen: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    symmetry: int = 0


@dataclass(frozen=True, eq=False)
class Instrument:
    """What a scan has of its own, where scans of one training come from different instruments.

    Attributes:
        probe: Probe in square roots of photons, complex ``(mode, y, x)``.
        valid: True for valid detector pixels, bool ``(y, x)``.
        intensities: Factor on the photons of each frame, ``(frame,)``.
        background: Constant background in photons per pixel.
    """

    probe: torch.Tensor
    valid: NDArray[np.bool_]
    intensities: NDArray[np.float64]
    background: float


class Groups:
    """Training and validation groups over one or several scans.

    A training group is a random frame and its nearest neighbours by Chebyshev distance, in random order, on which
    ordered subsets rely. It never contains a held-out frame, nor frames of two islands.

    Validation groups score most held-out frames, each once; the network sees the training frames around them. They lie
    where held-out frames are densest, so that few groups score many. A group of a single frame has no others, so the
    network sees the held-out frame itself, with weights that were not trained on it.
    With ``validation_scans`` they cover those scans instead: every frame is seen, and each is scored once.

    Args:
        scans: Scans to train on, all with frames of one size.
        group_size: Frames in a group; a smaller scan gives all of its frames, and padding.
        n_groups: Training groups in an epoch; by default as many as contain every frame twice on average.
        seed: Key of all random choices.
        validation_fraction: Share of each scan's frames that is held out; above 0, at least one frame.
        withheld: Share of every frame's photons that is scored and not seen, drawn again in every epoch, and after
            about ``USES_OF_A_DRAW`` groups with the same frame; with 0, all photons are both.
        validation_scans: Scans to validate on; then no frames are held out.
        dtype: Type of real numbers; counts become it on the device.
        instruments: Of all scans, validation scans after training scans; empty where they share one. Frames then have
            one size.

    Attributes:
        canvas: Height and width of every group's canvas, a multiple of 8 pixels.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        *,
        group_size: int,
        n_groups: int | None = None,
        seed: int,
        validation_fraction: float,
        withheld: float = 0.0,
        validation_scans: Sequence[Scan] = (),
        dtype: torch.dtype = torch.float32,
        instruments: Sequence[Instrument] = (),
    ) -> None:
        all_scans = (*scans, *validation_scans)
        if not instruments:
            refuse_other_sizes(all_scans)
        self.instruments = tuple(instruments)
        self.scans, self.validation_scans = tuple(scans), tuple(validation_scans)
        self.seed, self.withheld, self.dtype = seed, withheld, dtype
        self.patches = min(group_size, max(scan.n_frames for scan in all_scans))

        fraction = 0.0 if validation_scans else validation_fraction
        self._held_out = [held_out_frames(scan.n_frames, fraction, seed, i) for i, scan in enumerate(scans)]
        self._placed = [split_positions(scan.positions_px, scan.n_pixels) for scan in all_scans]
        self._neighbours = [self._training_neighbours(i) for i in range(len(self.scans))]
        # centres of scan i have the numbers first[i] to first[i + 1]
        self._first = np.cumsum([0, *(len(rows) for rows in self._neighbours)])
        self._validation = self._cover_scans() if validation_scans else self._cover_held_out()
        frames = [np.flatnonzero(~held_out) for held_out in self._held_out]
        frames += [np.arange(scan.n_frames) for scan in validation_scans]
        self._inputs = DrawnInputs(all_scans, frames, seed=seed, share=withheld)
        self.n_groups = n_groups or -(-2 * int(self._first[-1]) // group_size)
        self._draws = [self._draws_in_an_epoch(scan) for scan in self.scans]
        self.canvas = self._largest_canvas()

    def __len__(self) -> int:
        """Training groups in an epoch."""
        return self.n_groups

    @property
    def n_validation(self) -> int:
        """Number of validation groups; 0 if nothing is held out."""
        return len(self._validation)

    def use_initial_objects(self, make_initial_object: MakeInitialObject) -> None:
        """Fill ``Batch.initial_object`` with windows of the object that is found from each scan's training frames."""
        self._inputs.make_initial_object = make_initial_object

    def held_out(self, scan: int) -> Indices:
        """Frames of one training scan that no training group holds, in ascending order."""
        return np.flatnonzero(self._held_out[scan])

    def training_group(self, epoch: int, index: int) -> Batch:
        """Group ``index`` of an epoch, as a batch of one."""
        rng = np.random.default_rng([_TRAINING, self.seed, epoch, index])
        centre = int(rng.integers(self._first[-1]))
        scan = int(np.searchsorted(self._first, centre, side="right")) - 1
        frames = rng.permutation(self._neighbours[scan][centre - self._first[scan]])
        all_frames = np.ones(len(frames), dtype=np.bool_)
        group = Group(scan, frames, all_frames, all_frames, int(rng.integers(8)))
        draw = (epoch * self.n_groups + index) * self._draws[scan] // self.n_groups
        return self._batch(group, self._inputs.drawn(scan, draw), self.withheld)

    def validation_group(self, index: int) -> Batch:
        """Validation group ``index``, as a batch of one; the same in every epoch."""
        group = self._validation[index]
        return self._batch(group, self._inputs.for_validation(group.scan), 0.0)

    def _draws_in_an_epoch(self, scan: Scan) -> int:
        """How often photons are withheld anew; more often in small scans, all of whose groups are alike."""
        uses = self.n_groups * min(self.patches, scan.n_frames) / int(self._first[-1])
        return max(1, round(uses / USES_OF_A_DRAW)) if self.withheld else 1

    def _training_neighbours(self, scan: int) -> list[Indices]:
        """For every training frame, the training frames of its group, nearest first."""
        found: list[Indices] = []
        for island in _islands(self.scans[scan]):
            training = island[~self._held_out[scan][island]]
            positions = self.scans[scan].positions_px[training]
            size = min(self.patches, len(training))
            if size:
                _, nearest = cKDTree(positions).query(positions, k=size, p=np.inf)
                found += list(training[np.asarray(nearest, dtype=np.int64).reshape(len(training), size)])
        return found

    def _cover_held_out(self) -> list[Group]:
        groups = []
        for i, scan in enumerate(self.scans):
            left, training = self._held_out[i].copy(), ~self._held_out[i]
            unscored = int((1 - SCORED_SHARE) * left.sum())
            possible = _neighbourhoods(scan, self.patches) if left.any() else []
            while left.sum() > unscored:
                frames = max(
                    (rows[np.argmax(left[rows].sum(axis=1))] for rows in possible), key=lambda f: left[f].sum()
                )
                seen = training[frames] if self.patches > 1 else left[frames]
                groups.append(Group(i, frames, seen, left[frames]))
                left[frames] = False
        return groups

    def _cover_scans(self) -> list[Group]:
        groups = []
        for i, scan in enumerate(self.validation_scans, start=len(self.scans)):
            all_frames = np.ones(scan.n_frames, dtype=np.bool_)
            left = all_frames.copy()
            for centre in range(scan.n_frames):
                if left[centre]:
                    frames = _nearest(scan, centre, all_frames, self.patches)
                    groups.append(Group(i, frames, all_frames[frames], left[frames]))
                    left[frames] = False
        return groups

    def _largest_canvas(self) -> tuple[int, int]:
        """Height and width that fit every group of every epoch; a canvas must not depend on the batch."""
        sizes = [scan.n_pixels for scan in (*self.scans, *self.validation_scans)]
        shapes = [
            canvas_shape(self._placed[scan][0][frames], sizes[scan], margin_px=2, multiple=8)
            for scan, frames in self._all_groups()
        ]
        heights, widths = zip(*shapes, strict=True)
        return max(heights), max(widths)

    def _all_groups(self) -> list[tuple[int, Indices]]:
        training = [(scan, frames) for scan, rows in enumerate(self._neighbours) for frames in rows]
        return training + [(group.scan, group.frames) for group in self._validation]

    def _batch(self, group: Group, inputs: DrawnInput, withheld: float) -> Batch:
        used, frames, scan = len(group.frames), group.frames, (*self.scans, *self.validation_scans)[group.scan]
        corners, shifts = (array[frames] for array in self._placed[group.scan])
        low, high = corners.min(axis=0), corners.max(axis=0) + scan.n_pixels
        first = low - (np.array(self.canvas) - (high - low)) // 2
        counts, target = inputs.split(scan.counts[frames], frames)
        nowhere = np.zeros((3, 0, 0))
        initial = nowhere if inputs.initial_object is None else inputs.initial_object.cut(first, self.canvas)

        def padded(values: NDArray[np.generic], fill: object) -> torch.Tensor:
            rest = np.full((self.patches - used, *values.shape[1:]), fill, dtype=values.dtype)
            return torch.from_numpy(np.concatenate([values, rest]) if len(rest) else values)[None]

        seen = padded(counts, 0)
        return Batch(
            scan=torch.tensor([group.scan]),
            counts=seen,
            target=seen if target is counts else padded(target, 0),
            photon_fractions=torch.tensor([[1.0 - withheld, withheld or 1.0]], dtype=self.dtype),
            corners=padded(corners - first, corners[:1] - first),  # a valid place, for code that cuts patches there
            shifts=padded(shifts, 0.0).to(self.dtype),
            frames=padded(group.frames, _PADDING),
            seen=padded(group.seen, False),
            scored=padded(group.scored, False),
            initial_object=torch.from_numpy(initial).to(self.dtype)[None],
            symmetries=torch.tensor([group.symmetry]),
            **self._instrument(group, padded),
        )

    def _instrument(
        self, group: Group, padded: Callable[[NDArray[np.generic], object], torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """What the batch has of the group's own instrument; nothing where all scans share one."""
        if not self.instruments:
            return {}
        own = self.instruments[group.scan]
        return {
            "probe": own.probe[None],
            "valid": torch.from_numpy(own.valid)[None],
            "intensities": padded(own.intensities[group.frames], 1.0).to(self.dtype),
            "background": torch.tensor([own.background], dtype=self.dtype),
        }


def held_out_frames(n_frames: int, fraction: float, seed: int, scan: int = 0) -> NDArray[np.bool_]:
    """Choose the frames of scan number ``scan`` to hold out, bool ``(frame,)``.

    Each frame gets a random number that depends on (seed, scan, frame) alone; those with the lowest are held out.
    """
    ranks = np.random.default_rng([_HELD_OUT, seed, scan]).random(n_frames)
    size = min(max(1, round(fraction * n_frames)), n_frames - 1) if fraction > 0 else 0
    held_out = np.zeros(n_frames, dtype=np.bool_)
    held_out[np.argsort(ranks, kind="stable")[:size]] = True
    return held_out


def _islands(scan: Scan) -> list[Indices]:
    """Frames of each island of a scan, in ascending order."""
    if scan.moved_px is None:
        return [np.arange(scan.n_frames)]
    _, island = np.unique(scan.moved_px, axis=0, return_inverse=True)
    return [np.flatnonzero(np.ravel(island) == number) for number in range(int(island.max()) + 1)]


def _neighbourhoods(scan: Scan, size: int) -> list[Indices]:
    """For each island of a scan, every frame with its neighbours, nearest first, ``(frame, size)`` or fewer."""
    found = []
    for island in _islands(scan):
        positions, k = scan.positions_px[island], min(size, len(island))
        _, nearest = cKDTree(positions).query(positions, k=k, p=np.inf)
        found.append(island[np.asarray(nearest, dtype=np.int64).reshape(len(island), k)])
    return found


def _nearest(scan: Scan, centre: int, allowed: NDArray[np.bool_], size: int) -> Indices:
    """Indices of the ``size`` allowed frames nearest to ``centre``, by Chebyshev distance, nearest first."""
    if scan.moved_px is not None:
        allowed = allowed & (scan.moved_px == scan.moved_px[centre]).all(axis=1)
    distance = np.abs(scan.positions_px - scan.positions_px[centre]).max(axis=1)
    order = np.argsort(np.where(allowed, distance, np.inf), kind="stable")
    return order[: min(size, int(allowed.sum()))]


def refuse_other_sizes(scans: Sequence[Scan]) -> None:
    """Refuse scans whose frames differ in size, since one probe fits only one of them.

    Raises:
        DataError: If there is no scan.
        ShapeError: If sizes differ.
    """
    if not scans:
        raise DataError("no scan to train on, expected at least one.", hint="Name at least one scan file.")
    first = scans[0]
    for scan in scans[1:]:
        if scan.n_pixels != first.n_pixels:
            raise ShapeError(
                f"{scan.source}: frames of {scan.n_pixels} pixels, but {first.source} has frames of {first.n_pixels}.",
                hint="Crop all scans to one size, or find a probe for each with physics.probe_per_scan=always.",
            )
