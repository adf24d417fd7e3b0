"""The scores that a report shows first, and by which it compares runs."""

from __future__ import annotations

import math
from typing import Any

from ptycho_cli.reporting.report_source import ReportSource

_SHOWN = {
    "r_factor": "R-factor",
    "deviance": "deviance, nats/px",
    "amplitude_ssim": "amplitude SSIM",
    "phase_ssim": "phase SSIM",
    "half_frc50_nyquist": "ring correlation 0.5, Nyquist",
    "phase_spread_rad": "standard error of phase, rad",
}


def scores_of(source: ReportSource) -> dict[str, float]:
    """Label -> value, of the reconstruction that the run or the file holds; scores that are unknown are left out."""
    recorded = source.own_record.get("scores") or {}
    chosen = recorded.get("trained_polished") or recorded.get("trained") or recorded
    values: dict[str, Any] = dict(chosen)
    found: dict[str, float] = {}
    if (verdict := source.verdict) is not None:
        found["times photon noise"] = verdict["ratio"]
        found["held-out deviance, nats/px"] = verdict["deviance"]
        found["photon noise, nats/px"] = verdict["expected_deviance"]
    if source.result is not None and source.result.uncertainty is not None:
        values |= source.result.uncertainty.metrics()
    found |= {label: values[name] for name, label in _SHOWN.items() if values.get(name) is not None}
    return {label: float(value) for label, value in found.items() if value is not None and math.isfinite(value)}
