"""A stored probe that is not a set of modes: one for each frame, or orthogonal relaxations of one (OPR)."""

from __future__ import annotations

import numpy as np

from ptycho_cli.data import scan_checks
from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import counted
from ptycho_cli.data.readers.raw_scan import Array

MOST_MODES = 16  # more probes than these are no modes
ALIKE = 0.5  # overlap of probes with the first one above which they are variants of it; modes are orthogonal
WEAKEST = 0.02  # of the power: what a mode has at least that is kept


def stored_probe(draft: Draft, frame_shape: tuple[int, ...]) -> Array:
    """The modes of the file's probe, complex128 ``(mode, y, x)``.

    Orthogonal probe relaxation (``(variant, mode, y, x)``, as pty-chi stores it) is reduced to its first variant, which
    is the mean probe. Probes of single frames are reduced to the strongest modes of all of them.

    Raises:
        DataError: If it is not as large as a frame, not finite, or zero.
    """
    probe = scan_checks.probe_of(draft.raw, frame_shape)
    stored_shape = np.asarray(draft.raw.probe).shape
    leading = stored_shape[:-2]
    number = len(probe)
    if draft.raw.is_native or number == 1:
        return probe
    n_frames = number if draft.raw.positions is None else len(draft.raw.positions)
    if len(leading) >= 2 and leading[-1] < number and number // leading[-1] != n_frames:
        modes = leading[-1]
        if draft.report(
            "probe-size", "fixed",
            f"'probe' is {stored_shape}: {number // modes} variants (orthogonal probe relaxation) of "
            f"{counted(modes, 'mode')}; the first variant is used, which is the mean probe.",
            evidence={"variants": float(number // modes), "modes": float(modes)},
        ):  # fmt: skip
            return probe[:modes]
        return probe
    if number > MOST_MODES or (number == n_frames and _likeness(probe) > ALIKE):
        return _reduced(draft, probe, of_frames=number % n_frames == 0)
    return probe


def _likeness(probes: Array) -> float:
    """Median overlap of the probes ``(n, y, x)`` with the first one, from 0 to 1."""
    flat = probes.reshape(len(probes), -1)
    lengths = np.maximum(np.linalg.norm(flat, axis=1), 1e-30)
    return float(np.median(np.abs(flat[1:] @ flat[0].conj()) / (lengths[1:] * lengths[0])))


def _reduced(draft: Draft, probes: Array, *, of_frames: bool) -> Array:
    """The strongest orthogonal modes of the probes: those with a share of the power that matters."""
    flat = probes.reshape(len(probes), -1)
    powers, mixing = np.linalg.eigh(flat @ flat.conj().T)
    order = np.argsort(powers)[::-1][:MOST_MODES]
    kept = order[powers[order] >= WEAKEST * powers.sum()]
    kept = kept if len(kept) else order[:1]
    share = float(powers[kept].sum() / powers.sum())
    if not draft.report(
        "probe-size", "fixed",
        f"'probe' holds {len(probes)} probes, {'one for each frame' if of_frames else 'more than a beam has modes'}; "
        f"reduced to the {counted(len(kept), 'mode')} with {share:.1%} of their power.",
        evidence={"probes": float(len(probes)), "modes": float(len(kept)), "share": share},
    ):  # fmt: skip
        return probes
    modes = mixing[:, kept].conj().T @ flat / np.sqrt(len(probes))
    return np.asarray(modes.reshape(-1, *probes.shape[1:]))
