"""A reconstruction of a scan without its held-out frames: which polish to choose, and how well it explains a scan."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.config.schema import Config
from ptycho_cli.data.misfit import HeldOutScore
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out import central_split, held_out_of
from ptycho_cli.inference.reconstruct import reconstruction_probe, run_network
from ptycho_cli.inference.results import deviance_of
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.likelihood import draw_counts, mean_deviance
from ptycho_cli.physics.polish import polish_object


class HeldOutTrial:
    """Reconstruction of the middle of a scan without its held-out frames, which judge it.

    Args:
        objective: Network and probe of a run.
        config: The settings.
        scan: The scan, calibrated.
        training_scan: Its number among the scans that the run was trained on; None if it was not.

    Attributes:
        unseen: Whether training did not see the held-out frames either.
    """

    def __init__(self, objective: Objective, config: Config, scan: Scan, training_scan: int | None) -> None:
        held_out, self.unseen = held_out_of(config, scan, training_scan)
        pairs, inference = objective.probe_pairs, config.inference
        self._probe = reconstruction_probe(objective, scan)
        frames = scan_frames(scan, dtype=pairs.dtype, device=pairs.device)
        self._test, self._used = (
            frames.select(torch.from_numpy(numbers).to(pairs.device)) for numbers in central_split(scan, held_out)
        )
        self._network, self._update, self._seed = (
            objective.network,
            update_for(config.physics, scan),
            config.training.seed,
        )
        self._physics_only = inference.untrained
        self._objects: dict[int, Tensor] = {}

    def deviance(self, polish: int) -> float:
        """Mean deviance of the held-out frames after a number of iterations of polish, nats per valid pixel."""
        return deviance_of(self._test, self._object(polish), self._probe)

    def score(self, polish: int) -> HeldOutScore:
        """The same beside what photon noise and the mean pattern leave."""
        counts, valid = self._test.amplitude.square(), self._test.valid
        rate = expected_rate(self._test, self._object(polish), self._probe)
        drawn = draw_counts(rate, torch.Generator().manual_seed(self._seed))
        mean = self._used.amplitude.square().mean(0).expand_as(counts)
        return HeldOutScore(*(mean_deviance(*pair, valid) for pair in ((counts, rate), (drawn, rate), (counts, mean))))

    def _object(self, polish: int) -> Tensor:
        if 0 not in self._objects:
            self._objects[0] = run_network(
                self._network, self._used, self._probe, physics_only=self._physics_only, seed=self._seed
            )
        if polish not in self._objects:
            self._objects[polish] = polish_object(
                self._used, self._objects[0], self._probe, update=self._update, iterations=polish, seed=self._seed
            )
        return self._objects[polish]
