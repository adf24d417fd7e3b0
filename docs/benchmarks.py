"""Measure what docs/benchmarks.md states: ``python docs/benchmarks.py star64 star startup``.

Without arguments, all parts run. Every number comes from the program's own commands, run as a user runs them, on one
thread. CPU times are of whole processes with all their children, imports included, unless a column says otherwise.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmark_parts import (
    electron_scans,
    faults,
    large_scans,
    masked_gaps,
    measured_star,
    network_comparisons,
    photon_noise_bound,
    program_checks,
    semi_synthetic_star,
    shipped_weights,
    simulated_scans,
    step_times,
)

PARTS = {
    "star64": semi_synthetic_star.star64,
    "polish": simulated_scans.polish,
    "start": semi_synthetic_star.start,
    "lowdose": semi_synthetic_star.lowdose,
    "dose": simulated_scans.dose,
    "star": measured_star.star,
    "transfer": measured_star.transfer,
    "fine-tune": semi_synthetic_star.fine_tune,
    "compare": network_comparisons.compare,
    "single": network_comparisons.single,
    "inputs": network_comparisons.inputs,
    "presets": semi_synthetic_star.presets,
    "defects": simulated_scans.defects,
    "atoms": electron_scans.atoms,
    "units": electron_scans.units,
    "faults": faults.faults,
    "trained-faults": faults.trained_faults,
    "doctor": faults.doctor,
    "gaps": masked_gaps.gaps,
    "rates": program_checks.rates,
    "startup": program_checks.startup,
    "step": step_times.step,
    "threads": program_checks.threads,
    "memory": large_scans.memory,
    "growth": large_scans.growth,
    "weights": shipped_weights.weights,
    "bound": photon_noise_bound.bound,
}


def main(chosen: list[str]) -> None:
    """Run parts, each in the same temporary folder, and print their tables."""
    if unknown := [name for name in chosen if name not in PARTS]:
        sys.exit(f"no part is called {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="ptycho-benchmarks-") as folder:
        for name in chosen or PARTS:
            print(f"\n{PARTS[name].__doc__}\n")
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
