"""A reconstruction of a scan without its held-out frames: which polish to choose, and how well it explains a scan."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish
from ptycho_cli.calibration.held_out_frames import covered_share, held_out_score, judging_frames
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.config.schema import Config
from ptycho_cli.data.misfit import HeldOutScore
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out import central_split, held_out_of
from ptycho_cli.inference.reconstruct import initial_object, reconstruction_probe, run_network
from ptycho_cli.inference.results import deviance_of
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.polish import polish_object

SCORE = "held_out_score"  # in ``run.json``


class HeldOutTrial:
    """Reconstruction of the middle of a scan without its held-out frames, which judge it.

    Args:
        objective: Network and probe of a run.
        config: The settings.
        scan: The scan, calibrated.
        training_scan: Its number among the scans that the run was trained on; None if it was not.
        record: What ``run.json`` holds of the run that these settings and this scan are those of. The score in it is
            taken where it is that of the same polish.

    Attributes:
        unseen: Whether training did not see the held-out frames either.
    """

    def __init__(
        self, objective: Objective, config: Config, scan: Scan, training_scan: int | None,
        *, record: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        held_out, self.unseen = held_out_of(config, scan, training_scan)
        self._physics_only, self._seed = config.inference.untrained, config.training.seed
        self._network, self._update = objective.network, update_for(config.physics, scan)
        self._scan, self._probe = scan, reconstruction_probe(objective, scan)
        test, used = central_split(scan, held_out)
        self._rows = np.union1d(test, used)
        self._held_out = np.isin(self._rows, test)
        self._initial: dict[bytes, tuple[Tensor, Tensor] | None] = {}
        self._objects: dict[tuple[bytes, int, float], Tensor] = {}
        self._scores: dict[tuple[bytes, int, float], HeldOutScore] = {}
        known = {} if record is None else record.get(SCORE) or {}
        if (weight := known.get("tv_weight")) is not None:
            score = HeldOutScore(known["deviance"], known["noise"], known["mean_pattern"])
            self._scores[b"", known["polish"], weight] = score

    def again(self, config: Config) -> HeldOutTrial:
        """The same trial with the present weights of the network, and other settings of what reconstructs.

        What is found before the trained part of a network is found once for both, and so are frames.
        """
        other = copy.copy(self)
        other._physics_only, other._objects, other._scores = config.inference.untrained, {}, {}
        return other

    @cached_property
    def _frames(self) -> ScanFrames:
        everything = scan_frames(self._scan, dtype=self._probe.real.dtype, device=self._probe.device)
        return everything.select(torch.from_numpy(self._rows).to(self._probe.device))

    def recorded(self, polish: Polish) -> dict[str, Any]:
        """The score after a polish as ``run.json`` has it."""
        return {"polish": polish.iterations, "tv_weight": polish.tv_weight, **asdict(self.score(polish))}

    def deviance(self, polish: Polish) -> float:
        """Mean deviance of the held-out frames after a polish, nats per valid pixel."""
        return deviance_of(self._select(self._held_out), self._object(self._held_out, polish), self._probe)

    def frame_deviances(self, polish: Polish) -> NDArray[np.float64]:
        """Mean deviance of each held-out frame after a polish, nats per valid pixel, ``(frame,)``."""
        frames, obj = self._select(self._held_out), self._object(self._held_out, polish)
        one_by_one = (frames.select(slice(number, number + 1)) for number in range(len(frames)))
        return np.array([deviance_of(frame, obj, self._probe) for frame in one_by_one])

    def score(self, polish: Polish, *, without: NDArray[np.int64] | None = None) -> HeldOutScore:
        """Score of the reconstruction by those held-out frames that the others cover well.

        Where none is, as in small and sparse scans, by as many other frames, which are left out in their place.

        Args:
            polish: The polish.
            without: Rows of frames that are neither used nor judge, int64 ``(frame,)``; None for none.
        """
        rows = np.empty(0, np.int64) if without is None else without
        key = rows.tobytes(), polish.iterations, polish.tv_weight
        if key not in self._scores:
            self._scores[key] = self._score(polish, rows)
        return self._scores[key]

    def _score(self, polish: Polish, without: NDArray[np.int64]) -> HeldOutScore:
        excluded = np.isin(self._rows, without)
        share = np.where(excluded, -1.0, covered_share(self._frames, self._probe))
        test = judging_frames(share, self._held_out, int(self._held_out.sum()))
        left_out = (self._held_out if self._held_out[test].all() else test) | excluded
        obj = self._object(left_out, polish)
        return held_out_score(self._select(test), self._select(~left_out), obj, self._probe)

    def _select(self, which: NDArray[np.bool_]) -> ScanFrames:
        return self._frames.select(torch.from_numpy(np.flatnonzero(which)).to(self._probe.device))

    def _object(self, left_out: NDArray[np.bool_], polish: Polish) -> Tensor:
        """The object after a polish, from the other frames."""
        key = left_out.tobytes(), polish.iterations, polish.tv_weight
        if key not in self._objects:
            used = self._select(~left_out)
            if not polish.iterations:
                if (found := key[0]) not in self._initial and not self._physics_only:
                    self._initial[found] = initial_object(self._network, used, self._probe, seed=self._seed)
                self._objects[key] = run_network(
                    self._network, used, self._probe,
                    physics_only=self._physics_only, seed=self._seed, initial=self._initial.get(found),
                )  # fmt: skip
            else:
                self._objects[key] = polish_object(
                    used, self._object(left_out, Polish(0)), self._probe, update=self._update,
                    iterations=polish.iterations, tv_weight=polish.tv_weight, seed=self._seed,
                )  # fmt: skip
        return self._objects[key]
