"""Ask SLURM to run this job again, as Lightning's engine does at SIGUSR1."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

_INTERACTIVE = ("bash", "interactive")  # names of jobs in which a person types


def requeue(environment: Mapping[str, str] = os.environ) -> str | None:
    """Queue the job of this process again; done by rank 0 alone.

    Args:
        environment: The variables that SLURM sets.

    Returns:
        A sentence on the outcome; None outside a batch job of SLURM, and on other ranks.
    """
    job = environment.get("SLURM_JOB_ID")
    rank = environment.get("RANK", environment.get("SLURM_PROCID", "0"))
    if job is None or rank != "0" or environment.get("SLURM_JOB_NAME") in _INTERACTIVE:
        return None
    if "SLURM_ARRAY_JOB_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment.get('SLURM_ARRAY_TASK_ID', '0')}"
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as problem:
        return f"SLURM job {job} could not be queued again ({problem})."
    if done.returncode:
        reason = (done.stderr.split("\n")[0] or f"exit code {done.returncode}").strip()
        return f"SLURM job {job} could not be queued again ({reason})."
    return f"SLURM job {job} is queued again."
