"""The page on one run or one reconstruction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ptycho_cli.config.provenance import Decision
from ptycho_cli.config.values import show
from ptycho_cli.errors import CheckpointError
from ptycho_cli.render.effective_table import effective_rows
from ptycho_cli.render.finding_lines import ORDER
from ptycho_cli.render.settings_table import with_unit
from ptycho_cli.render.verdict_lines import verdict_parts
from ptycho_cli.reporting.methods_text import methods_of
from ptycho_cli.reporting.page_template import refuse_other_file, render_page, write_page
from ptycho_cli.reporting.recorded_settings import commands_of, decided_in, decisions_in
from ptycho_cli.reporting.report_pictures import pictures_of
from ptycho_cli.reporting.report_scores import scores_of
from ptycho_cli.reporting.report_source import ReportSource, read_source
from ptycho_cli.shell_line import shell_line


def write_report(source: Path, page: Path, *, force: bool = False) -> ReportSource:
    """Write the page on a run folder or a reconstruction; an earlier page of this program is replaced.

    Raises:
        PtychoError: If it is no run or reconstruction, is damaged, or the page cannot be written.
    """
    refuse_other_file(page, force=force)
    found = read_source(source)
    write_page(page, run_page(found), force=force)
    return found


def run_page(source: ReportSource) -> str:
    """The page as HTML.

    Raises:
        CheckpointError: If the record is damaged.
    """
    parts = pictures_of(source)
    try:
        return render_page("run.html", {**_values(source), "parts": parts})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"{source.path}: its record is damaged ({type(error).__name__}: {error}).",
            hint="Restore run.json from a copy, or make the run again.",
        ) from error


def _values(source: ReportSource) -> dict[str, Any]:
    record = source.record
    own = source.own_record
    auto = {**record.get("auto", {}), **(own.get("auto") or {})}
    noun = "training" if source.command == "train" else "reconstruction"
    return {
        "title": f"{source.name}: report of a {noun}",
        "name": source.name,
        "kind": f"Report of a {noun} by ptycho",
        "noun": noun,
        "verdict": _verdict(source),
        "facts": _facts(source),
        "scans": [_scan(scan) for scan in record.get("data", ())],
        "decided": _rows(decided_in(own)),
        "every": _rows(decisions_in(own)),
        "automatic": [(key, with_unit(key, value)) for key, value in auto.items()],
        "effective": _effective(record),
        "commands": [shell_line(words) for words in commands_of(source)],
        "versions": list((record.get("versions") or {}).items()),
        "plugins": [_plugin(plugin) for plugin in record.get("plugins", ())],
        "methods": methods_of(source),
    }


def _effective(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows of effective values, and what was requested where it differs."""
    requested, effective = record.get("requested") or {}, record.get("effective") or {}
    automatic = {key: "chosen by the program" for key, value in requested.items() if value == "auto"}
    return effective_rows(requested, effective, automatic | (record.get("reasons") or {}))


def _verdict(source: ReportSource) -> dict[str, Any]:
    if source.verdict is not None:
        parts = verdict_parts(source.verdict)
        return {"state": "good" if source.verdict["explained"] else "bad", **parts}
    status = source.record.get("status")
    sentence = "There is no verdict in this file."
    if source.command == "train":
        sentence = f"There is no verdict yet: the training is '{status}' and has no reconstruction that was judged."
    return {"state": "none", "sentence": sentence, "reasons": [], "notes": [], "lines": []}


def _facts(source: ReportSource) -> list[tuple[str, str]]:
    """The figures that a reader looks for first."""
    record, result, scores = source.record, source.result, scores_of(source)
    facts = [(label, f"{value:.3g}") for label, value in scores.items()]
    if data := record.get("data"):
        facts.append(("frames", str(sum(int(scan["n_frames"]) for scan in data))))
        facts.append(("frame", f"{data[0]['n_pixels']} x {data[0]['n_pixels']} px"))
    if result is not None:
        facts.append(("object", " x ".join(map(str, result.object.shape)) + " px"))
        pixel = result.object_pixel_m
        facts.append(("object pixel", "unknown" if pixel is None else f"{pixel * 1e9:.3g} nm"))
    config = record.get("config", {})
    facts.append(("network", str(config.get("model", {}).get("name", "unknown"))))
    if "applied_steps" in record:
        facts.append(("optimizer steps", str(record["applied_steps"])))
    return facts


def _rows(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    return [
        {
            "key": item.key,
            "value": with_unit(item.key, item.winner.value),
            "origin": item.winner.origin + (" (fixed)" if item.fixed else ""),
            "overridden": [
                {"value": with_unit(item.key, weaker.value), "origin": weaker.origin} for weaker in item.overridden
            ],
        }
        for item in decisions
    ]


def _scan(scan: Mapping[str, Any]) -> dict[str, Any]:
    about = f"{scan['n_frames']} frames of {scan['n_pixels']} px"
    if layout := scan.get("layout"):
        about += f", layout {layout}"
    if left_out := scan.get("left_out_frames"):
        about += f", {len(left_out)} further frames left out"
    findings = sorted(scan.get("findings", ()), key=lambda item: ORDER.index(item["severity"]))
    assumptions = scan.get("assumptions", [])
    return {
        "path": scan["path"], "sha256": scan.get("sha256"), "about": about, "findings": findings,
        "assumptions": assumptions,
    }  # fmt: skip


def _plugin(plugin: Mapping[str, Any]) -> dict[str, str]:
    kinds = ("schedulers", "callbacks", "networks", "readers", "commands")
    offers = [show(name) for kind in kinds for name in plugin.get(kind) or ()]
    return {
        "distribution": plugin["distribution"], "version": plugin["version"], "status": plugin["status"],
        "offers": ", ".join(offers),
    }  # fmt: skip
