"""Settings that have no effect beside others: nothing that somebody set is ignored silently.

What was set for this run alone is refused; what an earlier run, a preset or the user's own file set for
many runs is set aside, and it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Values = Mapping[str, Any]


class Silence(NamedTuple):
    """A setting that has no effect where others have certain values.

    Attributes:
        key: The setting.
        by: The setting that takes its effect; messages name where it was set.
        reads: Every setting that ``when`` looks at.
        when: Whether it has none, given all values.
        why: The reason in a message: ``checkpoints are off``.
    """

    key: str
    by: str
    reads: tuple[str, ...]
    when: Callable[[Values], bool]
    why: str


def never_stops_early(values: Values) -> bool:
    """Whether training ends before patience could run out: the first epoch is the best so far, then it counts."""
    return bool(values["checkpoint.early_stop_patience"] >= values["training.epochs"] - 1)


def _nothing_is_ranked(values: Values) -> bool:
    return not values["checkpoint.enabled"] and never_stops_early(values)


_RANKING = ("checkpoint.enabled", "checkpoint.early_stop_patience", "training.epochs")
_CHECKPOINTS_OFF = "checkpoints are off"

SILENCES = (
    Silence(
        "data.validation_fraction",
        "data.validation_paths",
        ("data.validation_paths",),
        lambda values: bool(values["data.validation_paths"]) and values["data.validation_fraction"] > 0,
        "whole files are validated on instead of held-out frames",
    ),
    Silence(
        "optimizer.probe_learning_rate",
        "physics.refine_probe",
        ("physics.refine_probe",),
        lambda values: not values["physics.refine_probe"],
        "the probe is not refined",
    ),
    Silence(
        "physics.probe_warmup",
        "physics.refine_probe",
        ("physics.refine_probe",),
        lambda values: not values["physics.refine_probe"],
        "the probe is not refined",
    ),
    Silence(
        "physics.max_position_shift_px",
        "physics.refine_positions",
        ("physics.refine_positions",),
        lambda values: not values["physics.refine_positions"],
        "positions are not refined",
    ),
    Silence(
        "checkpoint.save_top_k",
        "checkpoint.enabled",
        ("checkpoint.enabled",),
        lambda values: not values["checkpoint.enabled"],
        _CHECKPOINTS_OFF,
    ),
    *(
        Silence(
            key,
            "checkpoint.enabled",
            _RANKING,
            _nothing_is_ranked,
            f"{_CHECKPOINTS_OFF}, and training ends before it could stop early",
        )
        for key in ("checkpoint.monitor", "checkpoint.mode")
    ),
    Silence(
        "checkpoint.early_stop_patience",
        "training.epochs",
        _RANKING[1:],
        never_stops_early,
        "training ends before patience could run out",
    ),
)
