"""``ptycho evaluate``: scores against a known object, other reconstructions, or the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, NoPlugin, References, Strict, load_plugins_without
from ptycho_cli.cli.output import print_json, report_verdict
from ptycho_cli.cli.scan_report import report_scans, scans_as_json
from ptycho_cli.errors import ConfigError, DataError
from ptycho_cli.render.console import print_text

if TYPE_CHECKING:
    from ptycho_cli.data.object_files import LoadedObject
    from ptycho_cli.data.readers.registry import PluginReaders
    from ptycho_cli.data.reconstruction import Reconstruction


def command(
    reconstruction: Annotated[
        str,
        typer.Argument(metavar="RECON", help="reconstruction.h5, or FILE[:NAME] with an object."),
    ],
    truth: Annotated[
        str | None,
        typer.Option("--truth", metavar="FILE[:NAME]", help="File with the known object."),
    ] = None,
    reference: References = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="SCAN", help="Scan that was reconstructed, to score the fit."),
    ] = None,
    strict: Strict = False,
    as_json: AsJson = False,
    no_plugin: NoPlugin = None,
) -> None:
    """Score a reconstruction: against a known object, against other reconstructions, or against its data.

    Shift, complex factor and phase plane are removed first. Only the area with at least a tenth of the median
    coverage is compared. The scores of a flat object are printed for comparison, and so is the uncertainty that
    `ptycho infer --uncertainty` stored in the file, if there is one.
    """
    from ptycho_cli.data.object_files import load_object

    if strict and data is None:
        raise ConfigError("--strict has no effect without --data.", hint="Add --data SCAN.")
    readers = load_plugins_without(no_plugin).readers
    found = load_object(reconstruction, readers)
    report = {} if found.reconstruction is None else _stored(found.reconstruction)
    if truth is None and not reference and data is None and not report:
        raise DataError(
            "evaluate: nothing to compare with, expected --truth, --reference or --data.",
            hint="--data SCAN needs no known object; `ptycho infer --uncertainty` stores scores that need neither.",
        )
    if truth is not None:
        report |= _against_truth(found, load_object(truth, readers))
    if reference:
        report["phase_correlation"] = {place: _correlation(found, load_object(place, readers)) for place in reference}
    if data is not None:
        report |= _against_data(found, data, readers, as_json=as_json)
    if as_json:
        print_json(report)
    else:
        _print(report)
    report_verdict(report.get("verdict"), as_json=as_json, quiet=False, strict=strict)


def _stored(result: Reconstruction) -> dict[str, Any]:
    """Stored scores of reconstructions from parts of the frames; empty if there are none."""
    return {} if result.uncertainty is None else result.uncertainty.metrics()


def _against_truth(found: LoadedObject, truth: LoadedObject) -> dict[str, Any]:
    from ptycho_cli.metrics import report
    from ptycho_cli.registration import align

    return report(align(found.object, truth.object, coverage=found.coverage, offset_px=found.offset_on(truth)))


def _correlation(found: LoadedObject, other: LoadedObject) -> float:
    from ptycho_cli.metrics import phase_correlation
    from ptycho_cli.registration import align

    offset = found.offset_on(other)
    return phase_correlation(align(found.object, other.object, coverage=found.coverage, offset_px=offset))


def _against_data(found: LoadedObject, path: str, readers: PluginReaders, *, as_json: bool) -> dict[str, Any]:
    """Read the scan with the settings of the run, as far as they are recorded, and run the forward model."""
    from dataclasses import asdict

    from ptycho_cli.data.misfit import misfit
    from ptycho_cli.data.read import read_scan
    from ptycho_cli.data.read_options import recorded_options
    from ptycho_cli.inference.scan_verdict import verdict_of_file

    result = found.reconstruction
    if result is None:
        raise DataError(
            f"{found.name}: an object without probe and positions, which cannot be compared with --data.",
            hint="Give a file that `ptycho infer` or `ptycho train` wrote.",
        )
    options = recorded_options(dict(result.run_record or {}).get("config", {}))
    (scan,) = report_scans(lambda: (read_scan(path, options, readers),), as_json=as_json)
    scan = scan if result.left_out is None else scan.leaving_out(result.left_out.frames)
    verdict = verdict_of_file(result, scan).as_json()
    return {**asdict(misfit(result, scan)), **scans_as_json((scan,)), "verdict": verdict}


def _print(report: dict[str, Any]) -> None:
    from ptycho_cli.render.result_summary import print_scores

    flat = {"flat\nobject": report["flat_object"]} if "flat_object" in report else {}
    print_scores({"this": report, **flat})
    for place, value in report.get("phase_correlation", {}).items():
        print_text(f"phase correlation with {place}: {value:.3f}")
    if "held_out_frames" in report:
        seen = "never seen" if report["held_out_from_training"] else "seen"
        print_text(f"held-out frames: {report['held_out_frames']}, {seen} by the network in training")
