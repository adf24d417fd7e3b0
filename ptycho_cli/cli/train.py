"""``ptycho train``: print the settings, train, and print a summary."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ptycho_cli.cli.common_options import AsJson, Quiet, Strict
from ptycho_cli.cli.options import settings_options
from ptycho_cli.cli.output import print_json, report_verdict
from ptycho_cli.cli.scan_report import (
    print_refusal,
    recorded_findings,
    report_scans,
    scans_as_json,
    training_scans,
)
from ptycho_cli.config.provenance import Resolved, Source
from ptycho_cli.errors import ConfigError, InterruptedRunError, SharedTrainingError
from ptycho_cli.training.start_options import StartOptions
from ptycho_cli.training.stop_request import StopRequest

if TYPE_CHECKING:
    from ptycho_cli.training.distributed import ProcessInfo
    from ptycho_cli.workflows import TrainedRun


@settings_options("train")
def command(
    ctx: typer.Context,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Resume the run in this folder.")
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from",
            metavar="RUN",
            help="Start from the weights and the probe of a run; takes a tenth of its steps.",
        ),
    ] = None,
    resume_schedule: Annotated[
        Literal["checkpoint", "config"] | None,
        typer.Option(
            "--resume-schedule",
            help="Learning rates after a change of settings: those of the checkpoint, or the new ones (config).",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print all tables, then stop before the first step and write nothing.")
    ] = False,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Test learning rates on a copy of the weights, write the curve to FOLDER-find-lr.png, and end.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in the output folder.")] = False,
    strict: Strict = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Train a network on a scan, and reconstruct that scan.

    Needs no known object. Ctrl-C saves the run and prints the command that resumes it; a second Ctrl-C quits at once.
    """
    if resume_schedule is not None and resume is None:
        raise ConfigError("--resume-schedule has no effect without --resume.", hint="Add --resume RUN.")
    stop, start = StopRequest(), StartOptions(resume, resume_schedule, init_from, force, dry_run)
    try:
        with stop.listening():
            if find_lr:
                from ptycho_cli.cli.find_rate import find_rate

                find_rate(ctx, start, quiet=quiet, as_json=as_json)
                return
            run, known, process = _train(ctx, start, stop, quiet=quiet, as_json=as_json)
    except InterruptedRunError as stopped:
        from ptycho_cli.render.console import messages_console, print_folded

        message = "stopped; nothing was written." if find_lr else stopped.message
        print_folded(messages_console(), *filter(None, (message, stopped.hint)))
        raise typer.Exit(stopped.exit_code) from None
    if process.rank > 0:
        return
    if as_json:
        print_json({**run.summary, **run.scores, **known, **recorded_findings(run.record)})
    elif not quiet and run.folder is not None:
        from ptycho_cli.render.result_summary import print_trained

        print_trained({**run.summary, **run.scores})
    report_verdict(run.summary.get("verdict"), as_json=as_json, quiet=quiet, strict=strict)


def _train(
    ctx: typer.Context, start: StartOptions, stop: StopRequest, *, quiet: bool, as_json: bool
) -> tuple[TrainedRun, dict[str, Any], ProcessInfo]:
    """Read the settings, print them, and train; return the run, the scans as JSON, and the rank of this process."""
    resume = start.resume
    checkpoint = None if resume is None else (_earlier_config(resume), str(resume))
    from ptycho_cli.cli.settings import read_settings
    from ptycho_cli.training.distributed import process_info

    found = read_settings(
        ctx,
        command="train",
        checkpoint=checkpoint,
        init_from=start.init_from,
        force=start.force or start.dry_run or resume is not None,
        keep_schedule=start.resume_schedule == "checkpoint",
    )
    process = process_info(found.resolved.config.execution)
    main_process = process.rank == 0
    if as_json and main_process and found.refused is not None:
        print_refusal(found.refused)
    resolved, host = found.accepted(main_process=main_process)
    if not main_process:
        quiet, as_json = True, False
    if resume is not None:
        _stay_in_folder(resolved, resume)
    known = scans_as_json(
        report_scans(lambda: training_scans(resolved, host), quiet=quiet, as_json=as_json, silent=not main_process)
    )
    if not (quiet or as_json):
        from ptycho_cli.render.settings_table import print_settings

        print_settings(resolved)

    from ptycho_cli.cli.local_ranks import other_ranks
    from ptycho_cli.cli.typer_command import all_arguments
    from ptycho_cli.render.live_display import LiveDisplay
    from ptycho_cli.workflows import train_resolved

    devices = resolved.config.execution.devices
    if not process.launched:
        from ptycho_cli.assembly.device import refuse_too_many_devices

        refuse_too_many_devices(resolved.config.execution)
    with nullcontext(process) if process.launched else other_ranks(process, devices, all_arguments(ctx)) as process:
        try:
            picture = "terminal" in resolved.config.execution.live
            with LiveDisplay(quiet=quiet or as_json, picture=picture) as display:
                run = train_resolved(
                    resolved, host, start, events=display, progress=display.progress, process=process, stop=stop
                )
        except (InterruptedRunError, SharedTrainingError) as stopped:
            if process.rank > 0:  # rank 0 reports it
                raise typer.Exit(stopped.exit_code) from None
            raise
    return run, known, process


def _earlier_config(folder: Path) -> dict[str, Any]:
    from ptycho_cli.training.run_record import read_record

    config: dict[str, Any] = read_record(folder)["config"]
    return config


def _stay_in_folder(resolved: Resolved, folder: Path) -> None:
    winner = resolved.decision("training.output_dir").winner
    if winner.source > Source.CHECKPOINT and Path(winner.value).resolve() != folder.resolve():
        raise ConfigError(
            f"{winner.origin}: the output folder is {winner.value}, but a resumed run stays in its folder, {folder}.",
            hint="Leave out one of the two.",
        )
