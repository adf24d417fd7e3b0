"""The verdict on a reconstruction as lines of text, and as a part of a picture's title.

All functions take the verdict as ``run.json`` holds it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ptycho_cli.render.console import print_text
from ptycho_cli.render.finding_lines import columns, folded, with_setting

SHOWN = 3  # reasons; run.json lists all
CLOSE = 1.1  # times photon noise: so little is left that the reason alone shows the fault
ADVICE = (
    "no other axes, rotation, scale or order of the positions explains the frames much better. Drift or wrong steps: "
    "physics.refine_positions=true; partial coherence: physics.probe_modes=3; another beam: inference.probe=scan"
)


def print_verdict(verdict: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Print a verdict to standard output; if ``quiet``, only a warning, to standard error."""
    if quiet and verdict["explained"]:
        return
    file = sys.stderr if quiet else sys.stdout
    print_text(*verdict_lines(verdict, columns(file)), file=file)


def verdict_lines(verdict: Mapping[str, Any], width: int | None = None) -> list[str]:
    """Describe a verdict: one line, and where the model does not explain the frames, likely reasons and worst frames.

    Args:
        verdict: The verdict.
        width: Columns to fold the lines to; None leaves them whole.
    """
    size = f"{verdict['ratio']:.3g} times photon noise"
    notes = [finding for finding in verdict["findings"] if finding["severity"] == "note"]
    reasons = [finding for finding in verdict["findings"] if finding["severity"] != "note"]
    if verdict["explained"]:
        found = [f"The model explains the frames ({size})."]
        explained = {frame for finding in notes for frame in finding.get("frames", ())}
        others = {**verdict, "worst_frames": [frame for frame in verdict["worst_frames"] if frame not in explained]}
        if places := _places(others):
            found += folded("worst", f"{places}: far above the others.{_way_out(others)}", width)
        return found + _findings("note", notes, width)
    but = ""
    if verdict["ratio"] < CLOSE:
        but = ", though the deviance alone does not show it"
    lines = folded("warning", f"The model does not explain the frames: {size}{but}.", width)
    lines += _findings("likely", reasons[:SHOWN], width) + _findings("note", notes, width)
    if not reasons:
        lines += folded("unknown", f"{ADVICE}.", width)
    places = _places(verdict)
    return lines + (folded("worst", f"{places}.", width) if places else [])


def verdict_parts(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict for a page: ``sentence``, the findings in ``reasons`` and ``notes``, and further ``lines``."""
    notes = [finding for finding in verdict["findings"] if finding["severity"] == "note"]
    reasons = [finding for finding in verdict["findings"] if finding["severity"] != "note"]
    places, size = _places(verdict), f"{verdict['ratio']:.3g} times photon noise"
    lines = [] if verdict["explained"] or reasons else [f"The reason is unknown: {ADVICE}."]
    if places:
        lines.append(f"Explained worst: {places}.{_way_out(verdict)}")
    sentence = f"The model explains the frames ({size})."
    if not verdict["explained"]:
        but = ", though the deviance alone does not show it" if verdict["ratio"] < CLOSE else ""
        sentence = f"The model does not explain the frames: {size}{but}."
    return {"sentence": sentence, "reasons": reasons, "notes": notes, "lines": lines}


def _findings(label: str, findings: Iterable[Mapping[str, Any]], width: int | None) -> list[str]:
    """Findings, each with its id and the setting that changes it."""
    lines = []
    for finding in findings:
        lines += folded(label, finding["message"], width)
        lines += folded("", with_setting(finding["id"], finding["setting"]), width)
    return lines


def verdict_title(verdict: Mapping[str, Any]) -> str:
    """The verdict in a few words, for a picture's title."""
    if verdict["explained"]:
        return f"explained, {verdict['ratio']:.3g} times photon noise"
    reasons = f" ({', '.join(verdict['reasons'][:2])})" if verdict["reasons"] else ""
    return f"NOT EXPLAINED, {verdict['ratio']:.3g} times photon noise{reasons}"


def _places(verdict: Mapping[str, Any]) -> str:
    """Worst frames and detector pixels; empty if there are none."""
    parts = []
    if frames := verdict["worst_frames"]:
        parts.append("frames " + ", ".join(str(frame) for frame in frames))
    if pixels := verdict["worst_pixels"]:
        parts.append("detector pixels (y, x) " + ", ".join(f"({y}, {x})" for y, x in pixels))
    return "; ".join(parts)


def _way_out(verdict: Mapping[str, Any]) -> str:
    """The setting that leaves the worst frames out; empty if there are none."""
    frames = ",".join(str(frame) for frame in verdict["worst_frames"])
    return f" --set data.exclude_frames={frames} leaves the frames out." if frames else ""
