"""Checks of a scan that is read: one file for each kind of fault, and the order in which they run.

A check takes the ``Draft`` of a scan, reports what is wrong with it, and corrects it where that is safe. A new kind of
fault is one file here with its ``ABOUT``, one line in ``FRAME_CHECKS``, its id in ``ptycho_cli.finding_ids``, a
maker in ``docs/benchmark_parts/fault_scans.py`` and one test.
"""

from __future__ import annotations

from collections.abc import Callable

from ptycho_cli.data.findings import (
    bad_pixel_findings,
    beam_centre,
    beam_stop,
    count_units,
    dark_offset,
    descan,
    frame_quality,
    negative_counts,
    no_data,
    saturation,
    zingers,
)
from ptycho_cli.data.findings.draft import Draft

Check = Callable[[Draft], None]

# In this order: a check relies on what those before it corrected.
FRAME_CHECKS: tuple[Check, ...] = (
    no_data.check,
    saturation.check_wrapped,
    dark_offset.check,
    negative_counts.check,
    count_units.check_stored,
    count_units.check_gain,
    count_units.check_normalized,
    frame_quality.check_blank,
    frame_quality.check_outliers,
    frame_quality.check_incomplete,
    frame_quality.check_duplicates,
    zingers.check,
    saturation.check,
    beam_stop.check,
    bad_pixel_findings.check,
    descan.check,
    beam_centre.check,
)


def run_checks(draft: Draft) -> None:
    """Run the checks of the frames over a draft, as long as there is light in it."""
    for check in FRAME_CHECKS:
        if draft.of_pixels.any:
            check(draft)
