"""A finding: a fact about a scan that a person should know, with evidence and the setting that changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ptycho_cli.errors import DataError
from ptycho_cli.finding_ids import FINDING_IDS, Treatment

Severity = Literal["error", "warning", "fixed", "note"]
SHOWN = 6  # frames or pixels that a message lists before it counts the rest


@dataclass(frozen=True)
class About:
    """Text about an id for docs/data.md, beside the check that reports it.

    Attributes:
        fault: The fault, a noun phrase.
        done: What is done about it, a clause without subject.
        threshold: When it is reported, sentences with the values of the check's constants.
    """

    fault: str
    done: str
    threshold: str


@dataclass(frozen=True)
class Finding:
    """A fact about a scan.

    Attributes:
        id: Stable name, such as ``frames-blank``; documented in docs/data.md.
        severity: ``error``: the scan cannot be used as it is. ``warning``: a person must decide. ``fixed``: corrected,
            and reported. ``note``: good to know, nothing to do.
        message: What was found and what was done, one sentence or two, without the file's name.
        setting: Setting that changes it, as typed after ``--set``, such as ``data.flip_positions=y``; several are
            separated by a space; None if there is none.
        frames: Numbers in the file of the frames concerned, from 0; empty where none are.
        pixels: Detector pixels concerned, (row, column) in the stored frame; empty where none are.
        evidence: Figures behind the finding, by name: what was measured, the threshold, the gain of a cure.
    """

    id: str
    severity: Severity
    message: str
    setting: str | None = None
    frames: tuple[int, ...] = ()
    pixels: tuple[tuple[int, int], ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse ids that are not documented."""
        if self.id not in FINDING_IDS:
            raise ValueError(f"'{self.id}' is not one of ptycho_cli.finding_ids.FINDING_IDS")

    def as_json(self) -> dict[str, Any]:
        """The form that ``--json`` and ``run.json`` have; lists that would be empty are left out."""
        found: dict[str, Any] = {
            "id": self.id, "severity": self.severity, "message": self.message, "setting": self.setting,
        }  # fmt: skip
        if self.frames:
            found["frames"] = list(self.frames)
        if self.pixels:
            found["pixels"] = [list(pixel) for pixel in self.pixels]
        if self.evidence:
            found["evidence"] = dict(self.evidence)
        return found


def with_refusal(error: DataError, found: Iterable[Finding], source: str) -> DataError:
    """Give an error the findings of the file that it refuses, and itself as the last one if it has an id.

    Args:
        error: The refusal.
        found: Findings so far.
        source: Name of the file, with which messages of errors begin and those of findings do not.
    """
    findings = tuple(found)
    if error.finding is not None and not any((item.id, item.severity) == (error.finding, "error") for item in findings):
        text = error.message.removeprefix(f"{source}: ")
        message = f"{text[:1].upper()}{text[1:]}{'' if error.hint is None else f' {error.hint}'}"
        findings = (*findings, Finding(error.finding, "error", message))
    error.findings = findings
    return error


def with_treatments(findings: Iterable[Finding], asked: Iterable[tuple[str, Treatment]]) -> list[Finding]:
    """Findings with the severities that the user sets for their ids, without those that are ignored."""
    treatments = dict(asked)
    found = []
    for finding in findings:
        treatment = treatments.get(finding.id, finding.severity)
        if treatment != "ignore":
            found.append(replace(finding, severity=treatment))
    return found


def refuse_errors(source: str, findings: Sequence[Finding]) -> None:
    """Refuse a scan if a finding is an error, which only the user's settings make it.

    Raises:
        DataError: If one is; it has all findings.
    """
    for finding in findings:
        if finding.severity == "error":
            error = DataError(
                f"{source}: {finding.message}",
                hint=f"data.findings.{finding.id} makes it an error.",
                finding=finding.id,
            )
            raise with_refusal(error, findings, source)


def listed(items: tuple[Any, ...]) -> str:
    """The first items and how many more there are, for a message: ``3, 8, 11 and 40 more``."""
    shown = ", ".join(str(item) for item in items[:SHOWN])
    return f"{shown} and {len(items) - SHOWN} more" if len(items) > SHOWN else shown


def counted(number: int, name: str) -> str:
    """``1 pixel``, ``3 pixels``."""
    return f"{number} {name}{'' if number == 1 else 's'}"
