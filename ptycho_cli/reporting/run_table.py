"""Many runs in one table, those that stand out first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ptycho_cli.config.keys import choice_of
from ptycho_cli.config.values import jsonable
from ptycho_cli.errors import PtychoError
from ptycho_cli.render.settings_table import with_unit
from ptycho_cli.reporting.page_template import render_page
from ptycho_cli.reporting.recorded_settings import decisions_in
from ptycho_cli.reporting.report_scores import scores_of
from ptycho_cli.reporting.report_source import read_source

FEWEST = 4  # values of a score, from which one can stand out
_OUTLIER = 3.5  # robust standard deviations (Iglewicz and Hoaglin 1993)
_SIGMA = 1.4826  # standard deviation by median absolute deviation, of a normal distribution
_LEAST = 0.02  # relative difference; smaller ones never stand out
_OF_ONE_RUN = ("data.paths", "training.output_dir", "execution.", "training.report")


@dataclass(frozen=True)
class Row:
    """One run or reconstruction in the table.

    Attributes:
        path: Folder or file.
        kind: ``train``, ``infer`` or ``reconstruct``; None if it cannot be read.
        status: Status of a training; else None.
        problem: Why it cannot be read; None if it can.
        explained: The verdict; None if there is none.
        reasons: Ids of the likely reasons, where it is not explained.
        scores: Score -> value.
        settings: Key -> value of all settings.
        outlier_in: Scores by which it stands out, with the number of robust standard deviations.
    """

    path: str
    kind: str | None = None
    status: str | None = None
    problem: str | None = None
    explained: bool | None = None
    reasons: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    outlier_in: Mapping[str, float] = field(default_factory=dict)

    @property
    def stands_out(self) -> bool:
        """Whether a person should look at it first."""
        return self.problem is not None or self.explained is False or bool(self.outlier_in)


def table_of(paths: Sequence[Path]) -> list[Row]:
    """Rows of runs and reconstructions: unreadable ones, unexplained ones, then those with the farthest scores.

    Raises:
        PtychoError: If none of them can be read.
    """
    rows, problems = [], []
    for path in paths:
        try:
            rows.append(_row(path))
        except PtychoError as error:
            problems.append(error)
            rows.append(Row(str(path), problem=str(error)))
    if len(problems) == len(paths):
        raise problems[0]
    return sorted(_with_outliers(rows), key=_rank)


def _row(path: Path) -> Row:
    source = read_source(path)
    verdict = source.verdict or {}
    settings = {item.key: item.winner.value for item in decisions_in(source.own_record)}
    status = source.record.get("status") if source.command == "train" else None
    explained, reasons = verdict.get("explained"), tuple(map(str, verdict.get("reasons") or ()))
    return Row(str(path), source.command, status, None, explained, reasons, scores_of(source), settings)


def _with_outliers(rows: Iterable[Row]) -> list[Row]:
    from dataclasses import replace

    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row.scores)
    far = {name: _deviations([row.scores[name] for row in rows if name in row.scores]) for name in names}
    found = []
    for row in rows:
        outlier_in = {}
        for name, value in row.scores.items():
            middle, width = far[name]
            deviations = abs(value - middle) / width if width > 0 else 0.0
            if deviations > _OUTLIER and abs(value - middle) > _LEAST * abs(middle):
                outlier_in[name] = deviations
        found.append(replace(row, outlier_in=outlier_in))
    return found


def _deviations(values: Sequence[float]) -> tuple[float, float]:
    """Median, and robust standard deviation; 0 where there are too few values."""
    middle = median(values)
    width = _SIGMA * median(abs(value - middle) for value in values)
    if len(values) < FEWEST:
        return middle, 0.0
    return middle, width or 1e-9 * max(abs(middle), 1e-9)


def _rank(row: Row) -> tuple[int, float, str]:
    ratio = row.scores.get("times photon noise", 0.0)
    if row.problem is not None:
        return 0, 0.0, row.path
    if row.explained is False:
        return 1, -ratio, row.path
    if row.outlier_in:
        return 2, -max(row.outlier_in.values()), row.path
    return 3 if row.explained is None else 4, -ratio, row.path


def differing_settings(rows: Sequence[Row]) -> list[str]:
    """Keys whose value differs between runs, without paths and hardware; of options, between runs that have them."""
    readable = [row for row in rows if row.problem is None]
    keys = dict.fromkeys(key for row in readable for key in row.settings if not key.startswith(_OF_ONE_RUN))

    def values(key: str) -> set[str]:
        having = readable if choice_of(key) is None else [row for row in readable if key in row.settings]
        return {repr(row.settings.get(key)) for row in having}

    return [key for key in keys if len(values(key)) > 1]


def table_as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The table in plain values, in its order; settings are those that differ."""
    keys = differing_settings(rows)
    return [
        {
            "path": row.path, "kind": row.kind, "status": row.status, "problem": row.problem,
            "explained": row.explained, "reasons": list(row.reasons), "scores": dict(row.scores),
            "outlier_in": dict(row.outlier_in),
            "settings": {key: jsonable(row.settings[key]) for key in keys if key in row.settings},
        }
        for row in rows
    ]  # fmt: skip


def table_page(rows: Sequence[Row]) -> str:
    """The table as an HTML page."""
    keys = differing_settings(rows)
    scores = list(dict.fromkeys(name for row in rows for name in row.scores))
    return render_page(
        "runs.html",
        {
            "title": f"{len(rows)} runs",
            "sentence": summary_of(rows),
            "state": "bad" if any(row.problem or row.explained is False for row in rows) else
                     "none" if any(row.stands_out for row in rows) else "good",
            "rows": [
                {"row": row, "settings": [with_unit(key, row.settings.get(key)) if key in row.settings else ""
                                          for key in keys]}
                for row in rows
            ],
            "scores": scores,
            "keys": keys,
            "fewest": FEWEST,
        },
    )  # fmt: skip


def summary_of(rows: Sequence[Row]) -> str:
    """One sentence: how many runs stand out."""
    bad, odd = sum(row.explained is False for row in rows), sum(bool(row.outlier_in) for row in rows)
    broken = sum(row.problem is not None for row in rows)
    parts = [f"{broken} cannot be read"] * bool(broken) + [f"{bad} not explained"] * bool(bad)
    parts += [f"{odd} with a score far from the others"] * bool(odd)
    return f"{len(rows)} runs: {', '.join(parts) if parts else 'none stands out'}."
