"""Built-in learning-rate schedulers, one file each; they use the same hook as plugins."""

from __future__ import annotations

from collections.abc import Iterable

from ptycho_cli.extend.specs import SchedulerEntry, hookimpl
from ptycho_cli.schedulers.default import DEFAULT
from ptycho_cli.schedulers.exponential import EXPONENTIAL
from ptycho_cli.schedulers.plateau import PLATEAU
from ptycho_cli.schedulers.stages import ADAPTIVE, MULTI_STAGE
from ptycho_cli.schedulers.warmup_cosine import WARMUP_COSINE

__all__ = ["ADAPTIVE", "DEFAULT", "EXPONENTIAL", "MULTI_STAGE", "PLATEAU", "WARMUP_COSINE", "ptycho_schedulers"]


@hookimpl
def ptycho_schedulers() -> Iterable[SchedulerEntry]:
    """Offer the built-in schedulers."""
    return (DEFAULT, EXPONENTIAL, MULTI_STAGE, ADAPTIVE, WARMUP_COSINE, PLATEAU)
