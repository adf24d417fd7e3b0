"""Scores of reconstructions in a table, and what commands print when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptycho_cli.render.console import print_folded, results_console

# Name in JSON -> label, in the order of the table.
_LABELS = {
    "r_factor": "R-factor (lower is better)",
    "deviance": "deviance, nats/px (noise ~0.5)",
    "held_out_deviance": "held-out deviance, nats/px",
    "held_out_r_factor": "held-out R-factor",
    "half_frc50_nyquist": "FRC of halves, 0.5 cut, Nyquist",
    "half_frc143_nyquist": "FRC of halves, 1/7 cut",
    "half_frc_half_bit_nyquist": "FRC of halves, half-bit cut",
    "amplitude_spread": "standard error of amplitude",
    "phase_spread_rad": "standard error of phase, rad",
    "amplitude_ssim": "amplitude SSIM",
    "phase_ssim": "phase SSIM",
    "amplitude_psnr_db": "amplitude PSNR, dB",
    "phase_psnr_db": "phase PSNR, dB",
    "complex_snr_db": "complex SNR, dB",
    "frc50_nyquist": "FRC, 0.5 cut, Nyquist",
    "frc143_nyquist": "FRC, 1/7 cut",
    "frc_half_bit_nyquist": "FRC, half-bit cut",
}


def print_scores(columns: Mapping[str, Mapping[str, Any]], title: str = "") -> None:
    """Print scores side by side, one column for each reconstruction; scores that it lacks are left blank."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title or None, box=box.SIMPLE, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0), show_edge=False
    )
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", vertical="bottom")
    for key, label in _LABELS.items():
        if any(key in scores for scores in columns.values()):
            table.add_row(label, *(f"{scores[key]:.3f}" if key in scores else "" for scores in columns.values()))
    results_console().print(table)


def print_inferred(summary: Mapping[str, Any]) -> None:
    """Print the summary of ``ptycho infer``."""
    columns = {"this": summary}
    if "flat_object" in summary:
        columns["flat\nobject"] = summary["flat_object"]
    print_scores(columns, "Reconstruction")
    lines = [
        "",
        *summary["notes"],
        f"reconstructed in {summary['reconstruction_s']:.2f} s ({summary['reconstruction_cpu_s']:.2f} s of CPU)",
    ]
    lines.append(f"compared with held-out frames in {summary['verdict_cpu_s']:.2f} s of CPU")
    if "uncertainty_cpu_s" in summary:
        lines.append(f"uncertainty, from parts of the frames: {summary['uncertainty_cpu_s']:.2f} s of CPU")
    lines += [f"object:  {summary['object']}", f"picture: {summary['picture']}"]
    if "uncertainty_picture" in summary:
        lines.append(f"         {summary['uncertainty_picture']}")
    print_folded(results_console(), *lines)


def print_trained(summary: Mapping[str, Any]) -> None:
    """Print the summary of ``ptycho train``."""
    trained = summary["trained"]
    polish = summary.get("polish")
    titles = {
        "trained": "trained", "untrained": "physics\nonly",
        "trained_polished": f"trained,\npolish {polish}", "untrained_polished": f"physics,\npolish {polish}",
    }  # fmt: skip
    columns = {title: summary[name] for name, title in titles.items() if name in summary}
    if "flat_object" in trained:
        columns["flat\nobject"] = trained["flat_object"]
    print_scores(columns, "Reconstruction of the training scan")
    lines = ["", *summary["notes"]]
    if rates := summary.get("learning_rate"):
        lines.append(f"learning rate: {rates[0]:.3g} at the first step, {rates[-1]:.3g} at the last")
    if weights := summary.get("loss_weight"):
        lines.append(
            f"weight of the Poisson likelihood: {weights[0]:.3g} at the first step, {weights[-1]:.3g} at the last"
        )
    if summary.get("val_loss") is not None:
        last, result = summary["val_loss"], summary["verdict"]["deviance"]
        lines.append(f"deviance of held-out frames, nats/px: {last:.3f} in the last epoch, {result:.3f} in the result")
    lines.append(f"optimizer steps: {summary['optimizer_steps']}; weights from {summary['weights_from']}")
    lines.append(f"run: {summary['run']}")
    if "report" in summary:
        lines.append(f"report: {summary['report']}")
    print_folded(results_console(), *lines)
