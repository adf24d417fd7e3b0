"""A reconstruction of a whole scan with its fit to the counts, its scores and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ptycho_cli.calibration.scan_canvas import canvas_origin
from ptycho_cli.data.misfit import example_frames
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.uncertainty_record import Uncertainty
from ptycho_cli.data.write import write_reconstruction
from ptycho_cli.metrics import report
from ptycho_cli.physics import likelihood
from ptycho_cli.physics.back_projection import batch_rate
from ptycho_cli.physics.forward import expected_rate, illumination
from ptycho_cli.physics.frame_parts import waves_at_once
from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.registration import align
from ptycho_cli.render.plotting import DEFAULT_STYLE, PictureStyle
from ptycho_cli.render.position_shift_figure import position_figure_path, save_positions_png
from ptycho_cli.render.reconstruction_figure import save_reconstruction_png
from ptycho_cli.render.uncertainty_figure import FrameMap, Rings, save_uncertainty_png, uncertainty_figure_path
from ptycho_cli.render.verdict_lines import verdict_title


@dataclass(frozen=True, eq=False)
class Result:
    """A reconstruction and how well it explains the counts.

    Attributes:
        reconstruction: What ``data.write.write_reconstruction`` takes.
        r_factor: ``sum |sqrt(counts) - sqrt(rate)| / sum sqrt(counts)`` over valid pixels.
        deviance: Mean Poisson deviance, nats per valid pixel.
        unpolished: What the network found before the polish; None unless it was asked for and there was a polish.
    """

    reconstruction: Reconstruction
    r_factor: float
    deviance: float
    unpolished: Result | None = None


@torch.inference_mode()
def result_of(frames: ScanFrames, scan: Scan, obj: Tensor, probe: Tensor) -> Result:
    """The result for an object: its place and coverage, and its fit to the counts.

    Args:
        frames: All frames of the scan.
        scan: The scan.
        obj: The object, complex ``(y, x)``.
        probe: The probe, complex ``(mode, y, x)``.
    """
    deviance, done = likelihood.MeanDeviance(frames.valid), 0
    coverage = obj.real.new_zeros(1, *obj.shape)
    # Made once: small tensors of each part would lie between its large ones, and leave gaps too small for the next.
    misfit, size = torch.zeros(2, len(frames), dtype=torch.float64, device=obj.device)
    for part in (few for many in frames.parts() for few in many.parts(waves_at_once(probe))):
        measured, batch = part.measured(), part.batch(part.probes(probe))
        rate = batch_rate(obj[None], batch)[0]
        coverage += illumination(batch, coverage.shape)
        valid = torch.ones_like(rate[0]) if frames.valid is None else frames.valid
        rows = slice(done, done := done + len(part))
        misfit[rows] = ((rate.sqrt() - measured).abs() * valid).sum((-2, -1), dtype=torch.float64)
        size[rows] = (measured * valid).sum((-2, -1), dtype=torch.float64)
        deviance.add(likelihood.poisson_deviance(measured.square(), rate))
    return Result(
        Reconstruction(
            object=obj.cpu().numpy().astype(np.complex64),
            probe=probe.cpu().numpy().astype(np.complex64),
            positions_px=scan.positions_px,
            stored_positions_px=scan.stored_positions_px,
            intensities=scan.intensities,
            background=scan.background,
            coverage=coverage[0].cpu().numpy().astype(np.float32),
            object_origin_px=canvas_origin(scan),
            frame_residual=(misfit / size.clamp_min(1e-12)).cpu().numpy().astype(np.float32),
            object_pixel_m=scan.object_pixel_m,
            wavelength_m=scan.wavelength_m,
            distance_m=scan.distance_m,
            stored_frames=scan.stored_frames,
            left_out=scan.left_out,
        ),
        r_factor=float(misfit.sum() / size.sum()),
        deviance=deviance.value(),
    )


def with_examples(result: Result, scan: Scan, worst: Sequence[int]) -> Result:
    """The result with frames of the scan beside those that it expects, for its report.

    Args:
        result: The reconstruction.
        scan: Its scan.
        worst: Numbers in the file of the frames explained worst.
    """
    examples = example_frames(result.reconstruction, scan, worst)
    return replace(result, reconstruction=replace(result.reconstruction, examples=examples))


@torch.inference_mode()
def deviance_of(frames: ScanFrames, obj: Tensor, probe: Tensor) -> float:
    """Mean Poisson deviance of frames with an object ``(y, x)`` and a probe ``(mode, y, x)``, nats per valid pixel."""
    deviance = likelihood.MeanDeviance(frames.valid)
    for part in frames.parts():
        deviance.add(likelihood.poisson_deviance(part.measured().square(), expected_rate(part, obj, probe)))
    return deviance.value()


@torch.inference_mode()
def coverage_of(frames: ScanFrames, probe: Tensor) -> Tensor:
    """Photons that all frames put on each object pixel, real ``(y, x)``."""
    return ScanFrameSource(frames, probe).illumination()[0]


def scores(result: Result, scan: Scan) -> dict[str, Any]:
    """Fit to the counts and, where the true object is known, the metrics of ``ptycho evaluate``, by name."""
    found, values = result.reconstruction, {"r_factor": result.r_factor, "deviance": result.deviance}
    if found.uncertainty is not None:
        values |= found.uncertainty.metrics()
    if scan.truth is not None:
        offset = None
        if scan.truth_origin_px is not None:
            y, x = (a - b for a, b in zip(found.object_origin_px, scan.truth_origin_px, strict=True))
            offset = (y, x)
        values |= report(align(found.object, scan.truth, coverage=found.coverage, offset_px=offset))
    return values


def write_result(
    result: Result,
    path: Path,
    record: Mapping[str, Any],
    *,
    title: str,
    force: bool = False,
    style: PictureStyle = DEFAULT_STYLE,
) -> tuple[Path, ...]:
    """Write a reconstruction as HDF5 and, beside it, as pictures.

    Args:
        result: The reconstruction.
        path: The HDF5 file.
        record: What ``run.json`` holds, for the file.
        title: Title of the pictures; the verdict of the record is added to it.
        force: Replace an earlier file.
        style: Format, resolution and colours of the pictures.

    Returns:
        Paths of the pictures.

    Raises:
        OutputError: If the file exists and ``force`` is False, or cannot be written.
    """
    found = replace(result.reconstruction, run_record=record)
    write_reconstruction(path, found, force=force)
    pictures, verdict = [style.path(path)], record.get("verdict")
    title = title if verdict is None else f"{title}: {verdict_title(verdict)}"
    save_reconstruction_png(
        pictures[0], found.object, found.probe, found.coverage, pixel_m=found.object_pixel_m, title=title,
        left_out_px=None if found.left_out is None else found.left_out.positions_px - found.object_origin_px,
        style=style,
    )  # fmt: skip
    if found.stored_positions_px is not None:
        pictures.append(position_figure_path(path, style.format))
        save_positions_png(pictures[-1], found.stored_positions_px, found.positions_px, title=title, style=style)
    if found.uncertainty is not None and found.frame_residual is not None:
        pictures.append(uncertainty_figure_path(path, style.format))
        known = found.uncertainty
        held_out = f"deviance of {len(known.held_out)} held-out frames {known.held_out_deviance:.3g}"
        save_uncertainty_png(
            pictures[-1],
            known.amplitude_spread,
            known.phase_spread_rad,
            _rings(known),
            FrameMap(found.positions_px, found.frame_residual, known.held_out),
            pixel_m=found.object_pixel_m,
            title=f"{title}: uncertainty; {held_out}",
            style=style,
        )
    return tuple(pictures)


def _rings(known: Uncertainty) -> Rings:
    cuts = {"0.5": known.frc50_nyquist, "1/7": known.frc143_nyquist, "half-bit": known.frc_half_bit_nyquist}
    return Rings(known.ring_radius, known.ring_correlation, known.ring_half_bit, cuts)
