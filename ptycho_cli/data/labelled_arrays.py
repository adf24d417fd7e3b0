"""A reconstruction as an xarray dataset: arrays with coordinates and units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli import __version__
from ptycho_cli.data.background import mean_background
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.errors import MissingPackageError

if TYPE_CHECKING:
    import xarray

_WHAT = {"y": "position on the sample, downwards", "x": "position on the sample, to the right"}


def labelled_arrays(result: Reconstruction) -> xarray.Dataset:
    """Give the arrays of a reconstruction coordinates in metres, or in object pixels where their size is unknown.

    Args:
        result: The reconstruction.

    Returns:
        ``object``, ``amplitude``, ``phase`` and ``coverage`` over ``(y, x)``, ``probe`` over
        ``(mode, probe_y, probe_x)``, ``position_y`` and ``position_x`` over ``frame``, and what else was estimated.
        Positions of frames and coordinates of the object share one origin, that of the scan. Each array has ``units``
        and ``long_name`` in its ``attrs``.

    Raises:
        MissingPackageError: If xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise MissingPackageError(
            "to_xarray: the package xarray is not installed.", hint="pip install 'ptycho-cli[xarray]'"
        ) from None
    scale, unit = (1.0, "px") if result.object_pixel_m is None else (result.object_pixel_m, "m")
    coordinates = _coordinates(result, scale, unit)
    arrays = {**_arrays(result, scale, unit), **_errors(result)}
    return xarray.Dataset(arrays, coordinates, _attributes(result))


def _coordinates(result: Reconstruction, scale: float, unit: str) -> dict[str, Any]:
    """Coordinates of object and probe, of which the object's begin at its origin, and numbers of modes and frames."""
    found: dict[str, Any] = {}
    for axis, name in enumerate("yx"):
        along = scale * (result.object_origin_px[axis] + np.arange(result.object.shape[axis]))
        found[name] = (name, along, {"units": unit, "long_name": _WHAT[name]})
        n_pixels = result.probe.shape[axis + 1]
        inside = scale * (np.arange(n_pixels) - n_pixels // 2)
        found[f"probe_{name}"] = (f"probe_{name}", inside, {"units": unit, "long_name": "distance from the middle"})
    frames = result.stored_frames
    found["frame"] = np.arange(len(result.positions_px)) if frames is None else frames
    found["mode"] = np.arange(result.probe.shape[0])
    return found


def _arrays(result: Reconstruction, scale: float, unit: str) -> dict[str, Any]:
    found = {
        "object": (("y", "x"), result.object, {"units": "1", "long_name": "transmission of the object"}),
        "amplitude": (("y", "x"), np.abs(result.object), {"units": "1", "long_name": "amplitude"}),
        "phase": (("y", "x"), np.angle(result.object), {"units": "rad", "long_name": "phase"}),
        "coverage": (("y", "x"), result.coverage, {"long_name": "illumination by all frames"}),
        "probe": (
            ("mode", "probe_y", "probe_x"),
            result.probe,
            {"units": "photon**0.5", "long_name": "probe, in its modes"},
        ),
    }
    for axis, name in enumerate("yx"):
        about = {"units": unit, "long_name": f"{name} of the probe's centre in each frame"}
        found[f"position_{name}"] = (("frame",), scale * result.positions_px[:, axis], about)
    per_frame: dict[str, tuple[NDArray[Any] | None, str]] = {
        "frame_residual": (result.frame_residual, "misfit of the frame"),
        "intensity": (result.intensities, "factor on the probe's photons"),
    }
    for name, (values, meaning) in per_frame.items():
        if values is not None:
            found[name] = (("frame",), values, {"units": "1", "long_name": meaning})
    return found


def _errors(result: Reconstruction) -> dict[str, Any]:
    """Standard errors of amplitude and phase, if they were estimated."""
    if result.uncertainty is None:
        return {}
    amplitude = (("y", "x"), result.uncertainty.amplitude_spread, {"units": "1", "long_name": "standard error"})
    phase = (("y", "x"), result.uncertainty.phase_spread_rad, {"units": "rad", "long_name": "standard error"})
    return {"amplitude_spread": amplitude, "phase_spread": phase}


def _attributes(result: Reconstruction) -> dict[str, Any]:
    """Numbers of the geometry that are known, and the program."""
    names = ("object_pixel_m", "wavelength_m", "distance_m")
    known = {name: value for name in names if (value := getattr(result, name)) is not None}
    return {
        "program": f"ptycho-cli {__version__}",
        **known,
        "background_photons_per_pixel": mean_background(result.background),
    }
