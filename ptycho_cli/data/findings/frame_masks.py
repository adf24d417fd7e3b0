"""A mask of its own for each frame: frames that lost much are left out, other pixels are masked in all frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import counted
from ptycho_cli.data.findings.no_data import lost_frames
from ptycho_cli.data.frame_stack import stack_of

USUAL = 0.5  # of the frames in which a pixel is masked that belongs to the detector's own mask


def check(draft: Draft, bad: NDArray[np.bool_]) -> None:
    """Apply masks of single frames, where the model has one mask for all.

    Frames of which a large part is masked are left out. For the others, whichever costs less data: masking their bad
    pixels in all frames, or leaving the frames out.

    Args:
        draft: The draft.
        bad: Pixels that the file masks in each of its frames, ``(frame, y, x)``.
    """
    lost = lost_frames(stack_of(bad))
    draft.leave_out("frames-invalid", lost, "the file masks a large part of the frame", most=1.0)
    may_leave_out = draft.options.reject_bad_frames == "auto"
    if len(draft.counts) < len(bad):
        bad = np.delete(bad, lost, axis=0)
    usual = bad.mean(axis=0) > USUAL
    draft.mask(usual)
    more = bad & ~usual
    frames, pixels = more.any(axis=(1, 2)), more.any(axis=0)
    if may_leave_out and frames.mean() < pixels.mean():
        draft.leave_out("frames-invalid", np.flatnonzero(frames), "the file masks pixels in these frames only")
    elif pixels.any() and draft.report(
        "pixels-sentinel", "fixed",
        f"{counted(int(pixels.sum()), 'detector pixel')} masked in all frames, since the file masks them in "
        f"{int(frames.sum())}.",
        pixels=pixels, evidence={"pixels": float(pixels.sum()), "frames": float(frames.sum())},
    ):  # fmt: skip
        draft.mask(pixels)
