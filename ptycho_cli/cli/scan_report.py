"""Findings about the scans of a command, before its work begins: on standard error, and in its JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ptycho_cli.errors import DataError

if TYPE_CHECKING:
    from ptycho_cli.config.provenance import Resolved
    from ptycho_cli.data.findings.finding import Finding
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.extend.host import Host


def report_scans(
    read: Callable[[], tuple[Scan, ...]], *, quiet: bool = False, as_json: bool = False, silent: bool = False
) -> tuple[Scan, ...]:
    """Read scans and print assumptions and findings on standard error.

    Args:
        read: Reads the scans of the command.
        quiet: Print warnings only.
        as_json: Print warnings only; a refusal is printed as JSON on standard output as well.
        silent: Print nothing, in a process beside the main one.

    Raises:
        DataError: If a scan is refused.
    """
    try:
        scans = read()
    except DataError as error:
        if as_json and not silent:
            print_refusal(error)
        raise
    if not silent:
        for scan in scans:
            _print(scan, heading=len(scans) > 1, warnings_only=quiet or as_json)
    return scans


def training_scans(resolved: Resolved, host: Host) -> tuple[Scan, ...]:
    """Read the scans of a training, and keep them for it.

    Raises:
        DataError: If one of them cannot be trained on.
    """
    from ptycho_cli.assembly.scans import keep_scans
    from ptycho_cli.data.scan_checks import refuse_few_frames

    data = resolved.config.data
    if data.simulate is not None:
        from ptycho_cli.assembly.simulated_training import recipe_scan

        return (recipe_scan(resolved.config),)
    scans = keep_scans((*data.paths, *data.validation_paths), resolved.config, host.readers)
    for scan in scans[: len(data.paths)]:
        refuse_few_frames(scan)
    return scans


def print_refusal(error: DataError) -> None:
    """Print a refused file as JSON: its findings, and the problem."""
    from ptycho_cli.cli.output import print_json

    print_json({"findings": findings_as_json(error.findings), "problem": problem_as_json(error)})


def problem_as_json(error: DataError | None) -> dict[str, Any] | None:
    """The refusal of a file in JSON; None without one."""
    return None if error is None else {"message": error.message, "hint": error.hint}


def findings_as_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings in JSON."""
    return [finding.as_json() for finding in findings]


def scans_as_json(scans: Sequence[Scan]) -> dict[str, Any]:
    """Assumptions and findings of scans in JSON; each names its file if there are several."""
    if len(scans) == 1:
        return {"assumptions": list(scans[0].assumptions), "findings": findings_as_json(scans[0].findings)}
    return {
        "assumptions": [f"{scan.source}: {line}" for scan in scans for line in scan.assumptions],
        "findings": [{**found, "file": scan.source} for scan in scans for found in findings_as_json(scan.findings)],
    }


def recorded_findings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Findings of the scans of a run, also those of its calibration, in JSON; nothing if its scans were simulated."""
    data = record.get("data", [])
    if len(data) < 2:
        return {"findings": data[0]["findings"]} if data else {}
    return {"findings": [{**found, "file": scan["path"]} for scan in data for found in scan["findings"]]}


def _print(scan: Scan, *, heading: bool, warnings_only: bool) -> None:
    from ptycho_cli.render.console import print_text
    from ptycho_cli.render.finding_lines import scan_lines

    lines = scan_lines(
        () if warnings_only else scan.assumptions,
        [item for item in scan.findings if not warnings_only or item.severity == "warning"],
        sys.stderr,
    )
    if lines:
        print_text(*([f"{scan.source}:"] if heading else ()), *lines, file=sys.stderr)
