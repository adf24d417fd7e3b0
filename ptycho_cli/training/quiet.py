"""Lightning's chatter, silenced by name so that anything else is still heard."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_CHATTY = (
    "lightning.pytorch.utilities.rank_zero",
    *("lightning.fabric.utilities.seed", "lightning.fabric.utilities.distributed"),
    "lightning.pytorch.accelerators.cuda",  # names the visible devices, whatever is asked for
)
# Each with its reason; the texts are matched at the start.
_EXPECTED = (
    r"The '\w+_dataloader' does not have many workers",  # groups are slices of memory: workers cost more than they give
    r"Trying to infer the `batch_size` from an ambiguous collection",  # figures are logged with their own weights
    r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen parts are frozen on purpose
    r"GPU available but not used",  # the effective table says which accelerator is used
    r"MPS available but not used",
    r"Be aware that when using `ckpt_path`, callbacks",  # resuming says so itself, in the user's words
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # inside Lightning 2.6 with torch 2.13
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """While inside, Lightning tells neither tips, nor banners, nor warnings that are known and meant."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _EXPECTED:
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
