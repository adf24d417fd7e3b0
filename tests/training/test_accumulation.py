"""Accumulating N batches gives the update of one batch N times as large."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ptycho_cli.training.accumulation import Windows


def test_a_shorter_last_window_and_a_short_last_batch_are_counted() -> None:
    windows = Windows(n_groups=11, batch_size=2, accumulate=4)

    assert (windows.batches, windows.steps) == (6, 2)
    assert [windows.groups_in_window(i) for i in range(6)] == [8, 8, 8, 8, 3, 3]
    assert [i for i in range(6) if windows.closes(i)] == [3, 5]
    assert [i for i in range(6) if windows.opens(i)] == [0, 4]
    assert windows.span(3).total_steps == 6


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_weights_make_the_mean_over_all_groups_of_a_window(world_size: int) -> None:
    """After Lightning's division by N and the average over ranks, every group of a window has the weight 1 / groups."""
    windows = Windows(n_groups=12 * world_size - 1, batch_size=2, accumulate=3, world_size=world_size)
    real = [2 * world_size * batch for batch in range(windows.batches)]  # groups before each batch, over all ranks
    assert real[-1] < windows.n_groups
    for batch in range(windows.batches):
        weight_of_a_group = windows.weight(batch) / windows.accumulate / world_size
        assert weight_of_a_group == pytest.approx(1 / windows.groups_in_window(batch))
    opening = [batch for batch in range(windows.batches) if windows.opens(batch)]
    assert sum(windows.groups_in_window(batch) for batch in opening) == windows.n_groups


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize(("batch_size", "accumulate", "large"), [(1, 4, 4), (2, 3, 6), (3, 2, 6)])
def test_n_batches_equal_one_large_batch(
    fit: Any, batch_size: int, accumulate: int, large: int, clip: float | None
) -> None:
    """Weights after two epochs agree to 1e-6 in float64, with a short last window and a short last batch."""
    options: dict[str, Any] = {"n_groups": 11, "double": True, "gradient_clip_val": clip}

    accumulated = fit(batch_size=batch_size, accumulate=accumulate, **options)(epochs=2)
    one_batch = fit(batch_size=large, accumulate=1, **options)(epochs=2)

    assert len(accumulated.rates) == len(one_batch.rates) == 2 * -(-11 // large)
    for name, expected in one_batch.weights.items():
        assert expected.dtype == torch.float64
        torch.testing.assert_close(accumulated.weights[name], expected, rtol=1e-6, atol=1e-12)
