"""Groups and their loader: what depends on what, and that nothing is seen that should be held out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from ptycho_cli.data.batch import Batch, collate
from ptycho_cli.data.groups import Groups
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.data.photon_thinning import InitialObject, withhold
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import ShapeError
from ptycho_cli.geometry import split_positions


def make_scan(n_frames: int = 120, n_pixels: int = 16, seed: int = 0) -> Scan:
    """A scan whose frame i holds the value i + 1, at random places."""
    rng = np.random.default_rng(seed)
    counts = np.broadcast_to(
        np.arange(1, n_frames + 1, dtype=np.float32)[:, None, None], (n_frames, n_pixels, n_pixels)
    )
    return Scan("made.npz", np.array(counts), rng.uniform(-40, 40, (n_frames, 2)), np.ones((n_pixels,) * 2, bool))


def make_groups(scan: Scan | None = None, **changes: object) -> Groups:
    settings: dict[str, object] = {"group_size": 12, "seed": 3, "validation_fraction": 0.1, **changes}
    return Groups([scan or make_scan()], **settings)  # type: ignore[arg-type]


def test_corners_and_shifts_give_back_the_positions_up_to_one_offset() -> None:
    scan = make_scan()
    batch = make_groups(scan, dtype=torch.float64).training_group(0, 0)

    found = batch.corners[0].double() + batch.shifts[0] + scan.n_pixels / 2
    offset = found - torch.from_numpy(scan.positions_px[batch.frames[0].numpy()])

    torch.testing.assert_close(offset, offset[:1].expand_as(offset), rtol=0, atol=1e-12)
    assert batch.shifts.abs().max() <= 0.5


def test_every_patch_of_every_group_lies_on_the_canvas() -> None:
    groups = make_groups()
    everything = [groups.training_group(epoch, i) for epoch in range(3) for i in range(len(groups))]
    everything += [groups.validation_group(i) for i in range(groups.n_validation)]

    for batch in everything:
        assert int(batch.corners.min()) >= 1
        assert (batch.corners[0].numpy() + groups.scans[0].n_pixels <= np.array(groups.canvas) - 1).all()
    assert all(side % 8 == 0 for side in groups.canvas)


def test_a_group_is_the_nearest_training_frames_around_its_centre_in_random_order() -> None:
    scan = make_scan()
    groups = make_groups(scan)
    frames = groups.training_group(0, 1).frames[0].numpy()
    training = np.setdiff1d(np.arange(scan.n_frames), groups.held_out(0))

    def is_centre(centre: int) -> bool:
        distance = np.abs(scan.positions_px[training] - scan.positions_px[centre]).max(axis=1)
        return set(training[np.argsort(distance)[: len(frames)]]) == set(frames)

    assert any(is_centre(centre) for centre in frames)
    assert sorted(frames) != list(frames)


def test_the_same_key_gives_the_same_group_and_another_epoch_another_one() -> None:
    first, again = make_groups(), make_groups()

    assert torch.equal(first.training_group(2, 5).frames, again.training_group(2, 5).frames)
    assert not torch.equal(first.training_group(2, 5).frames, first.training_group(3, 5).frames)
    assert not torch.equal(first.training_group(2, 5).frames, make_groups(seed=4).training_group(2, 5).frames)


def test_held_out_frames_are_never_trained_on_and_most_are_scored_once_in_validation() -> None:
    groups = make_groups()
    held_out = set(groups.held_out(0))
    trained = {
        int(f) for epoch in range(5) for i in range(len(groups)) for f in groups.training_group(epoch, i).frames[0]
    }
    validation = [groups.validation_group(i) for i in range(groups.n_validation)]

    assert len(held_out) == 12
    assert not trained & held_out
    scored = [int(f) for b in validation for f in b.frames[b.scored]]
    assert set(scored) <= held_out
    assert len(scored) == len(set(scored)) >= 0.75 * len(held_out)
    assert not {int(f) for b in validation for f in b.frames[b.seen]} & held_out


def test_a_held_out_frame_without_neighbours_in_its_group_is_seen_itself() -> None:
    """Seen before: ``val_loss`` was that of vacuum in every epoch, so the weights of the first one were kept."""
    groups = make_groups(group_size=1)

    batches = [groups.validation_group(i) for i in range(groups.n_validation)]

    assert all(bool(batch.seen.all()) and bool(batch.scored.all()) for batch in batches)
    assert {int(batch.frames) for batch in batches} <= set(groups.held_out(0).tolist())
    assert len(batches) == 9  # of 12


def test_validation_groups_lie_where_held_out_frames_are_dense() -> None:
    """Each group scores as many frames as any group could; the groups before took theirs."""
    scan = make_scan()
    groups, left = make_groups(scan), np.zeros(scan.n_frames, dtype=bool)
    left[groups.held_out(0)] = True

    for batch in (groups.validation_group(i) for i in range(groups.n_validation)):
        distance = np.abs(scan.positions_px[:, None] - scan.positions_px).max(axis=2)
        around = np.argsort(distance, axis=1)[:, :12]
        assert int(batch.scored.sum()) == left[around].sum(axis=1).max()
        left[batch.frames[batch.scored].numpy()] = False


def test_which_frames_are_held_out_depends_on_the_seed_and_not_on_sizes() -> None:
    small, large = make_groups(group_size=4, n_groups=3), make_groups(group_size=40, withheld=0.3)

    assert np.array_equal(small.held_out(0), large.held_out(0))
    assert not np.array_equal(small.held_out(0), make_groups(seed=9).held_out(0))


@pytest.mark.parametrize("fraction", [0.01, 0.49])
def test_a_tiny_scan_is_never_held_out_whole(fraction: float) -> None:
    groups = make_groups(make_scan(2), validation_fraction=fraction)

    assert len(groups.held_out(0)) == 1


def test_photons_withheld_and_seen_add_up_to_the_counts_and_do_not_change_the_group() -> None:
    whole = make_groups().training_group(0, 0)
    thinned = make_groups(withheld=0.25).training_group(0, 0)

    assert torch.equal(whole.target, whole.counts)
    assert torch.equal(thinned.counts + thinned.target, whole.counts)
    assert whole.photon_fractions.tolist() == [[1.0, 1.0]]
    assert thinned.photon_fractions.tolist() == [[0.75, 0.25]]
    assert torch.equal(whole.frames, thinned.frames)
    assert thinned.scored.all()


def test_withheld_photons_are_a_binomial_part_independent_of_the_rest() -> None:
    """Thinned Poisson numbers have the rates of their shares and no correlation, unlike a part and its whole."""
    counts = np.random.default_rng(0).poisson(8.0, (200, 40, 40)).astype(np.float32)

    taken = withhold(counts, 0.25, np.random.default_rng(1))

    n = counts.size
    assert float(taken.mean()) == pytest.approx(2.0, abs=5 * np.sqrt(2.0 / n))
    assert float(taken.var()) == pytest.approx(2.0, abs=5 * np.sqrt(10.0 / n))
    assert abs(np.corrcoef(taken.ravel(), (counts - taken).ravel())[0, 1]) < 5 / np.sqrt(n)
    assert np.corrcoef(taken.ravel(), counts.ravel())[0, 1] > 0.4


def test_fractions_of_counts_are_shared_without_chance() -> None:
    taken = withhold(np.array([[0.6, 0.0]], dtype=np.float32), 0.25, np.random.default_rng(0))

    np.testing.assert_allclose(taken, [[0.15, 0.0]], rtol=1e-6)


def test_what_is_withheld_depends_on_seed_scan_and_epoch_alone() -> None:
    """Also on the group: a frame that is in two groups of an epoch has the same photons withheld in both."""
    groups, again = make_groups(withheld=0.25), make_groups(withheld=0.25, group_size=40)
    photons = {
        int(f): target
        for b in (groups.training_group(2, 0), again.training_group(2, 5))
        for f, target in zip(b.frames[0], b.target[0], strict=True)
    }

    later = groups.training_group(3, 0)
    back = groups.training_group(2, 0)  # an earlier epoch than the latest, as on a resume

    for frame, target in zip(back.frames[0], back.target[0], strict=True):
        assert torch.equal(photons[int(frame)], target)
    for b in (again.training_group(2, 1), groups.training_group(2, 4)):
        for frame, target in zip(b.frames[0], b.target[0], strict=True):
            assert torch.equal(photons.setdefault(int(frame), target), target)
    other = make_groups(withheld=0.25, seed=4).training_group(2, 0)
    assert not torch.equal(later.target, back.target)
    assert not torch.equal(other.target, back.target)


def test_validation_withholds_nothing() -> None:
    batch = make_groups(withheld=0.25).validation_group(0)

    assert torch.equal(batch.target, batch.counts)
    assert batch.photon_fractions.tolist() == [[1.0, 1.0]]


def test_a_start_is_cut_where_its_group_lies_and_made_without_held_out_frames() -> None:
    """An initial object that holds its own coordinates shows them on every canvas, and vacuum without light outside."""
    scan = make_scan()
    groups = make_groups(scan, withheld=0.25)
    asked: list[tuple[set[int], float]] = []
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)

    def make_initial_object(number: int, frames: np.ndarray, counts: np.ndarray, share: float) -> InitialObject:
        asked.append((set(frames.tolist()), share))
        low = corners.min(axis=0)
        y, x = np.indices(corners.max(axis=0) - low + scan.n_pixels)
        return InitialObject(np.stack([y + low[0], x + low[1], np.ones_like(y)]).astype(np.float64), low)

    groups.use_initial_objects(make_initial_object)
    batches = [groups.training_group(0, i) for i in range(3)] + [groups.validation_group(0)]

    for batch in batches:
        assert batch.initial_object.shape == (1, 3, *groups.canvas)
        for frame, (y, x) in zip(batch.frames[0].tolist(), batch.corners[0].tolist(), strict=True):
            assert batch.initial_object[0, :, y, x].tolist() == [*corners[frame].tolist(), 1.0]
        outside = batch.initial_object[0, 2] == 0
        assert torch.equal(batch.initial_object[0, 0][outside], torch.ones(int(outside.sum())))
    training = set(range(scan.n_frames)) - set(groups.held_out(0).tolist())
    assert asked == [(training, 0.75), (training, 1.0)]


def test_photons_are_withheld_anew_after_25_uses_of_a_frame() -> None:
    scan = make_scan()
    groups = Groups([scan], group_size=scan.n_frames, n_groups=100, seed=0, validation_fraction=0.1, withheld=0.25)
    made: list[None] = []
    groups.use_initial_objects(lambda *_: made.append(None) or InitialObject(np.ones((3, 4, 4)), np.zeros(2, np.int64)))

    def seen(epoch: int, index: int) -> np.ndarray:
        batch = groups.training_group(epoch, index)
        return batch.counts[0, torch.argsort(batch.frames[0])].numpy()

    draws = [seen(epoch, index) for epoch in (0, 1) for index in (0, 24, 25, 49, 50, 74, 75, 99)]

    assert len(made) == 8
    for first, last, following in zip(draws[::2], draws[1::2], [*draws[2::2], draws[0]], strict=True):
        assert np.array_equal(first, last)
        assert not np.array_equal(last, following)
    few = Groups([scan], group_size=scan.n_frames, n_groups=30, seed=0, validation_fraction=0.1, withheld=0.25)
    batches = few.training_group(0, 0), few.training_group(0, 29)
    ordered = [batch.counts[0, torch.argsort(batch.frames[0])] for batch in batches]
    assert torch.equal(*ordered)


def test_padding_has_no_counts_and_is_neither_seen_nor_scored() -> None:
    batch = Groups([make_scan(5), make_scan(9)], group_size=20, seed=0, validation_fraction=0).training_group(0, 0)
    padding = batch.frames == -1

    assert batch.counts.shape[1] == 9
    assert not batch.seen[padding].any()
    assert not batch.scored[padding].any()
    assert (batch.counts[padding] == 0).all()
    assert (batch.counts[~padding] > 0).all()


def test_counts_are_those_of_the_frames_named() -> None:
    batch = make_groups().training_group(1, 2)

    assert torch.equal(batch.counts[0, :, 0, 0], batch.frames[0].float() + 1)


def test_separate_validation_scans_are_covered_and_nothing_is_held_out() -> None:
    groups = Groups(
        [make_scan()], group_size=12, seed=0, validation_fraction=0.1, validation_scans=[make_scan(50, seed=1)]
    )
    validation = [groups.validation_group(i) for i in range(groups.n_validation)]

    assert len(groups.held_out(0)) == 0
    assert sorted(int(f) for b in validation for f in b.frames[b.scored]) == list(range(50))
    assert all(bool((b.seen == (b.frames >= 0)).all()) for b in validation)


def test_by_default_an_epoch_sees_every_training_frame_twice() -> None:
    assert len(make_groups()) == 18  # 2 * 108 frames in groups of 12
    assert len(make_groups(n_groups=7)) == 7


def test_scans_of_different_frame_sizes_are_refused_by_name() -> None:
    with pytest.raises(ShapeError, match=r"made.npz: frames of 24 pixels"):
        Groups([make_scan(), make_scan(n_pixels=24)], group_size=4, seed=0, validation_fraction=0)


def epoch_of(loader: GroupLoader, epoch: int) -> list[Batch]:
    loader.set_epoch(epoch)
    return list(loader)


def test_batch_size_changes_how_groups_are_portioned_and_nothing_else() -> None:
    one, four = (epoch_of(GroupLoader(make_groups(withheld=0.3), size), 2) for size in (1, 4))

    joined_one, joined_four = collate(one), collate(four)
    assert [b.n_groups for b in four] == [4, 4, 4, 4, 2]
    for name in ("counts", "corners", "shifts", "frames", "seen", "scored"):
        assert torch.equal(getattr(joined_one, name), getattr(joined_four, name))


def test_two_ranks_together_see_what_one_sees_and_the_odd_group_is_not_scored_twice() -> None:
    alone = collate(epoch_of(GroupLoader(make_groups(n_groups=7), 2), 1))
    ranks = [epoch_of(GroupLoader(make_groups(n_groups=7), 2, rank=rank, world=2), 1) for rank in (0, 1)]

    joined = collate([collate(batches) for batches in ranks])
    assert [len(batches) for batches in ranks] == [2, 2]
    scored = sorted(tuple(row.tolist()) for row, used in zip(joined.frames, joined.scored, strict=True) if used.any())
    assert scored == sorted(tuple(row.tolist()) for row in alone.frames)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_resumed_mid_epoch_continues_exactly(num_workers: int) -> None:
    """Also when the iterator is made before the epoch is set, as Lightning does on resume."""
    expected = epoch_of(GroupLoader(make_groups(), 4), 6)
    loader = GroupLoader(make_groups(), 4)
    loader.set_epoch(6)
    iterator = iter(loader)
    next(iterator), next(iterator)
    state = loader.state_dict()

    resumed = GroupLoader(make_groups(), 4, num_workers=num_workers)
    resumed.load_state_dict(state)
    early = iter(resumed)
    resumed.set_epoch(6)
    rest = list(early)

    assert state == {"position": 2}
    assert len(resumed) == len(expected)
    assert [b.frames.tolist() for b in rest] == [b.frames.tolist() for b in expected[2:]]
    assert resumed.state_dict() == {"position": 0}  # the end of an epoch is the start of the next
    assert len(epoch_of(resumed, 7)) == len(expected)


def test_groups_can_be_sent_to_worker_processes() -> None:
    groups = make_groups()

    assert torch.equal(
        pickle.loads(pickle.dumps(groups)).training_group(1, 1).counts, groups.training_group(1, 1).counts
    )
