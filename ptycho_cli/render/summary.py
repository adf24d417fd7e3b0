"""What a command prints when it is done: files, scores and what they are measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptycho_cli.render.console import results_console

# Key -> name, in the order of the table; the first two are misfits, where lower is better.
_FIGURES = {
    "r_factor": "R-factor (lower is better)",
    "deviance": "deviance, nats a pixel (floor about 0.5)",
    "held_out_deviance": "the same of held-out frames",
    "half_frc50_nyquist": "FRC of halves, 0.5 cut, of Nyquist",
    "half_frc143_nyquist": "FRC of halves, 1/7 cut",
    "half_frc_half_bit_nyquist": "FRC of halves, half-bit cut",
    "amplitude_spread": "standard error of the amplitude, median",
    "phase_spread_rad": "standard error of the phase, rad, median",
    "amplitude_ssim": "amplitude SSIM",
    "phase_ssim": "phase SSIM",
    "amplitude_psnr_db": "amplitude PSNR, dB",
    "phase_psnr_db": "phase PSNR, dB",
    "complex_snr_db": "complex SNR, dB",
    "frc50_nyquist": "FRC 0.5 cut, of Nyquist",
}


def print_scores(columns: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Print figures side by side; what a column does not have is left blank."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False)
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for key, label in _FIGURES.items():
        if any(key in figures for figures in columns.values()):
            cells = (f"{figures[key]:.3f}" if key in figures else "" for figures in columns.values())
            table.add_row(label, *cells)
    results_console().print(table)


def print_inferred(summary: Mapping[str, Any]) -> None:
    """Print the summary of ``ptycho infer``."""
    columns = {"this": summary}
    if "flat_object" in summary:
        columns["flat object"] = summary["flat_object"]
    print_scores(columns, "Reconstruction")
    for line in summary["assumptions"]:
        print(f"assumed: {line}")
    for line in summary["notes"]:
        print(line)
    print(f"reconstructed in {summary['reconstruction_s']:.2f} s ({summary['reconstruction_cpu_s']:.2f} s of CPU)")
    if "uncertainty_cpu_s" in summary:
        print(f"parts of the frames reconstructed for the uncertainty in {summary['uncertainty_cpu_s']:.2f} s of CPU")
    print(f"object:  {summary['object']}")
    print(f"picture: {summary['picture']}")
    if "uncertainty_picture" in summary:
        print(f"         {summary['uncertainty_picture']}")


def print_trained(summary: Mapping[str, Any]) -> None:
    """Print the summary of ``ptycho train``."""
    trained = summary["trained"]
    columns = {"trained": trained, "untrained": summary["untrained"]}
    if polish := summary.get("polish"):
        columns |= {f"{name}, polish {polish}": summary[f"{name}_polished"] for name in tuple(columns)}
    if "flat_object" in trained:
        columns["flat object"] = trained["flat_object"]
    print_scores(columns, "The training scan, reconstructed")
    for line in summary["notes"]:
        print(line)
    rates = summary.get("learning_rate") or []
    if rates:
        print(f"learning rate: {rates[0]:.3g} at the first step, {rates[-1]:.3g} at the last")
    if weights := summary.get("loss_weight"):
        print(f"weight of the likelihood: {weights[0]:.3g} at the first step, {weights[-1]:.3g} at the last")
    if summary.get("val_loss") is not None:
        print(f"deviance of held-out frames: {summary['val_loss']:.3f} nats a pixel, in the last epoch")
    print(f"optimizer steps: {summary['optimizer_steps']}; weights from {summary['weights_from']}")
    print(f"run: {summary['run']}")
