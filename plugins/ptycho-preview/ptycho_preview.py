"""The callback ``Preview``: a picture of the reconstruction every few epochs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ptycho_cli.extend import CallbackContext, CallbackEntry, Options, hookimpl

if TYPE_CHECKING:
    from lightning.pytorch import Callback

ptycho_plugin_api = 1

FOLDER = "preview"
_SHOWN = 0.1  # pixels with less than this fraction of the median coverage are not shown
_CONTRAST = 0.5  # pixels with less than this fraction, at the noisy rim, do not affect the contrast


class PreviewOptions(Options):
    """Interval and resolution of the pictures."""

    every: int = Field(5, ge=1, description="Epochs between two pictures; the last epoch always has one.")
    dpi: int = Field(110, ge=40, le=600, description="Resolution of the pictures in dots per inch.")


def build_preview(context: CallbackContext, options: PreviewOptions) -> Callback:
    """A callback that draws after every ``every``-th epoch and after the last, on the first process only."""
    from lightning.pytorch import Callback, LightningModule, Trainer

    class Preview(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or context.span.epochs
            if trainer.is_global_zero and (epoch % options.every == 0 or epoch == epochs):
                draw_epoch(context, epoch, title(epoch, epochs, trainer.callback_metrics), options.dpi)

    return Preview()


def title(epoch: int, epochs: int, metrics: Mapping[str, Any]) -> str:
    """Epoch, number of epochs, and the loss of held-out frames if there are any."""
    loss = metrics.get("val_loss")
    return f"epoch {epoch} of {epochs}" + ("" if loss is None else f", held-out loss {float(loss):.4g}")


def draw_epoch(context: CallbackContext, epoch: int, title: str, dpi: int) -> None:
    """Reconstruct and write ``preview/epoch_0005.png`` and ``preview/latest.png``.

    The state of the random numbers is restored, so a run with previews has the same weights as one without. If a
    picture cannot be written, the training continues with a warning.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        field, coverage = context.reconstruct()
    folder = context.run_dir / FOLDER
    digits = max(4, len(str(context.span.epochs)))
    try:
        folder.mkdir(exist_ok=True)
        for name in (f"epoch_{epoch:0{digits}d}.png", "latest.png"):
            save_picture(folder / name, field, coverage, title, dpi)
    except OSError as error:
        warnings.warn(f"preview: {folder} cannot be written ({error.strerror or error}).", RuntimeWarning, stacklevel=2)


def save_picture(path: Path, field: Any, coverage: Any, title: str, dpi: int) -> None:
    """Draw amplitude and phase side by side, cropped to the area that the probe covered.

    The limits of the grey scale are percentiles over the well covered pixels. The mean plane of the phase is
    removed, because ptychography does not determine it. The file is replaced only when it is complete.

    Args:
        path: PNG file.
        field: Object, complex ``(y, x)``.
        coverage: Sum of the probe's intensity on each pixel, ``(y, x)``.
        title: Line above the panels.
        dpi: Resolution in dots per inch.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown, well_covered = _areas(np.asarray(field), np.asarray(coverage))
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else np.s_[:, :]
    shown, well_covered, image = shown[window], well_covered[window], np.where(shown, field, 0)[window]
    figure = Figure(figsize=(9.0, 0.8 + 4.0 * float(np.clip(image.shape[0] / image.shape[1], 0.4, 2.5))))
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = (("Amplitude", np.abs(image), ""), ("Phase, plane removed", flat_phase(image, shown), "rad"))
    for axes, (name, values, unit) in zip(figure.subplots(1, 2), panels, strict=True):
        low, high = np.percentile(values[well_covered], (0.5, 99.5)) if well_covered.any() else (0.0, 1.0)
        if high - low < 1e-6:  # show a flat object as one grey, not its rounding errors
            low, high = low - 0.5, high + 0.5
        drawn = axes.imshow(np.ma.masked_array(values, ~shown), cmap="gray", vmin=low, vmax=high)
        axes.set(title=name, xticks=[], yticks=[], facecolor="#dbe4ee")
        figure.colorbar(drawn, ax=axes, shrink=0.85).set_label(unit)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(temporary, format="png", dpi=dpi)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _areas(field: Any, coverage: Any) -> tuple[Any, Any]:
    """Masks of the pixels to show, and of those among them that determine the contrast."""
    import numpy as np

    covered = coverage[coverage > 0]
    typical = float(np.median(covered)) if covered.size else 1.0
    shown = np.isfinite(field) & (coverage >= _SHOWN * typical)
    return shown, shown & (coverage >= _CONTRAST * typical)


def flat_phase(field: Any, shown: Any) -> Any:
    """Phase in radians without its mean slope and mean value, ``(y, x)``."""
    import numpy as np

    flat = np.where(shown, field, 0).astype(np.complex128)
    for axis in (0, 1):
        ahead, behind = np.moveaxis(flat, axis, 0)[1:], np.moveaxis(flat, axis, 0)[:-1]
        slope = np.angle(np.sum(ahead * np.conj(behind)))
        ramp = np.exp(-1j * slope * np.arange(flat.shape[axis]))
        flat = flat * (ramp[:, None] if axis == 0 else ramp[None, :])
    return np.angle(flat * np.exp(-1j * np.angle(flat.sum())))


PREVIEW = CallbackEntry(
    name="Preview", summary="Save pictures of the object in RUN/preview/.", options=PreviewOptions, build=build_preview
)


@hookimpl
def ptycho_callbacks() -> Iterable[CallbackEntry]:
    """Offer ``Preview``."""
    yield PREVIEW
