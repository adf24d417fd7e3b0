"""Shares of frames: each frame is in one of them, whichever slice of the frames is asked for."""

from __future__ import annotations

import pytest

from ptycho_cli.physics.frame_share import FrameShare


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("n_frames", [1, 5, 24])
def test_the_shares_of_a_slice_are_the_slice(processes: int, n_frames: int) -> None:
    for which in (slice(None), slice(1, None, 4), slice(3, 4), slice(2, 19, 3), slice(30, None)):
        parts = [FrameShare(rank, processes).within(which, n_frames) for rank in range(processes)]
        found = [frame for part in parts for frame in range(part.start, part.stop, part.step)]

        assert found == list(range(n_frames)[which])
        for rank, part in enumerate(parts):
            assert set(range(part.start, part.stop, part.step)) <= set(FrameShare(rank, processes).frames(n_frames))
