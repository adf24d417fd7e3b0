"""``ptycho train --find-lr``: a learning-rate range test in place of a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ptycho_cli.cli.output import print_json, refuse_unwritable
from ptycho_cli.cli.scan_report import print_refusal, report_scans, scans_as_json, training_scans
from ptycho_cli.errors import ConfigError
from ptycho_cli.render.console import print_text

if TYPE_CHECKING:
    from ptycho_cli.config.provenance import Resolved
    from ptycho_cli.extend.host import Host
    from ptycho_cli.training.rate_range_test import RangeTest
    from ptycho_cli.training.start_options import StartOptions


def find_rate(ctx: typer.Context, start: StartOptions, *, quiet: bool, as_json: bool) -> None:
    """Test learning rates, print the one that the test suggests, and write the curve beside the folder of the run.

    Raises:
        ConfigError: If a run is to be resumed, whose rates are those of its checkpoint; or with ``--dry-run``.
    """
    from ptycho_cli.cli.settings import read_settings

    if start.resume is not None:
        raise ConfigError("--find-lr cannot be combined with --resume.", hint="Test the settings of a new training.")
    if start.dry_run:
        raise ConfigError("--find-lr cannot be combined with --dry-run.", hint="Leave out one of the two.")
    found = read_settings(ctx, command="train", init_from=start.init_from, force=True)
    if as_json and found.refused is not None:
        print_refusal(found.refused)
    resolved, host = found.accepted()
    folder = Path(str(resolved.config.training.output_dir))
    picture, table = (folder.with_name(f"{folder.name}-find-lr{suffix}") for suffix in (".png", ".json"))
    for path in (picture, table):
        refuse_unwritable(path, force=start.force)
    known = scans_as_json(report_scans(lambda: training_scans(resolved, host), quiet=quiet, as_json=as_json))
    if not (quiet or as_json):
        from ptycho_cli.render.settings_table import print_settings

        print_settings(resolved)
    result = _test(resolved, host, start, quiet=quiet or as_json)
    report = _write(result, picture, table, resolved.config.pictures.dpi)
    if as_json:
        print_json({**report, **known})
    elif not quiet:
        print_text(*_lines(report))


def _test(resolved: Resolved, host: Host, start: StartOptions, *, quiet: bool) -> RangeTest:
    from ptycho_cli.progress_callback import stage_progress
    from ptycho_cli.render.live_display import LiveDisplay
    from ptycho_cli.workflows import assemble

    with LiveDisplay(quiet=quiet) as display:
        display.progress("loading torch", 0, 0)
        from ptycho_cli.training.rate_range_test import range_test

        assembled = assemble(resolved, host, display.progress, init_from=start.init_from)
        for line in assembled.notes:
            display.note(line)
        return range_test(
            resolved.config, assembled, progress=stage_progress(display.progress, "testing learning rates")
        )


def _write(result: RangeTest, picture: Path, table: Path, dpi: int) -> dict[str, Any]:
    from ptycho_cli.config.serialize import json_text
    from ptycho_cli.render.rate_test_figure import save_rate_test
    from ptycho_cli.whole_file import new_output

    save_rate_test(
        picture, result.rates, result.losses, result.smoothed,
        current=result.current, suggested=result.suggested, dpi=dpi,
    )  # fmt: skip
    report = {
        "suggested_learning_rate": result.suggested,
        "current_learning_rate": result.current,
        "lowest_loss_at": result.lowest_at,
        "diverged": result.diverged,
        "rates": result.rates,
        "losses": result.losses,
        "smoothed": result.smoothed,
        "picture": str(picture),
        "table": str(table),
    }
    with new_output(table) as temporary:
        temporary.write_text(json_text(report) + "\n", encoding="utf-8")
    return report


def _lines(report: dict[str, Any]) -> list[str]:
    rates, suggested = report["rates"], report["suggested_learning_rate"]
    current = f"the settings have {report['current_learning_rate']:g}"
    end = "where the loss diverged" if report["diverged"] else "without a divergence"
    lines = [f"tested learning rates: {rates[0]:.2g} to {rates[-1]:.2g}, {end}; {len(rates)} optimizer steps"]
    if suggested is None:
        lines.append(f"suggested learning rate: none, the loss fell by no more than it scatters; {current}")
    else:
        lines.append(
            f"suggested learning rate: {suggested:g}, where the loss falls most steeply; it is lowest at "
            f"{report['lowest_loss_at']:.2g}, and {current}"
        )
        lines.append(f"To train with it, replace --find-lr by: --learning-rate {suggested:g}")
    return [*lines, f"curve: {report['picture']}, {report['table']}"]
