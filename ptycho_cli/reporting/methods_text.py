"""A paragraph for the methods section of a paper, with its references, made from the effective settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptycho_cli.data.background import is_pattern, mean_background
from ptycho_cli.reporting.report_source import ReportSource


@dataclass(frozen=True)
class Methods:
    """Text and references.

    Attributes:
        paragraphs: Plain text; citations are keys in square brackets.
        bibtex: The entries that the text cites.
    """

    paragraphs: tuple[str, ...]
    bibtex: str


def methods_of(source: ReportSource) -> Methods:
    """Describe a run or a reconstruction by its effective settings."""
    record, cited = source.record, ["ptycho_cli"]
    config = record.get("config", {})
    auto = {**record.get("auto", {}), **record.get("reconstruction", {}).get("auto", {})}
    trained = source.command != "reconstruct"
    found = [_network(config, cited), _training(record, config, auto, cited)] if trained else [_start(record, cited)]
    paragraphs = [
        " ".join((_program(record), *found)),
        " ".join((_forward_model(source, config, auto, cited), _reconstruction(source, auto, cited))),
    ]
    return Methods(tuple(paragraphs), "\n\n".join(_ENTRIES[key] for key in dict.fromkeys(cited)))


def _program(record: Mapping[str, Any]) -> str:
    versions = record.get("versions", {})
    with_torch = f", PyTorch {versions['torch']}" if "torch" in versions else ""
    version, python = versions.get("ptycho-cli", "of unknown version"), versions.get("python", "of unknown version")
    return f"Reconstructions were made with ptycho-cli {version} [ptycho_cli] (Python {python}{with_torch})."


def _network(config: Mapping[str, Any], cited: list[str]) -> str:
    model = config.get("model", {})
    name, options = str(model.get("name", "unrolled")), _options(model.get("options"))
    cited.append("hoidn2023")
    if name == "unrolled":
        cited.append("maiden2017")
        found = "an unrolled network whose stages are a regularised PIE step [maiden2017] followed by a small CNN"
    elif name == "refiner":
        cited.append("maiden2017")
        found = "regularised PIE steps with momentum [maiden2017] and a U-Net that corrects their result, in turns"
    elif name == "autoencoder":
        cited.append("cherukara2020")
        found = "a convolutional autoencoder that maps frames to patches [cherukara2020]"
    else:
        found = f"the network {name}"
    return f"The object was found by {found}{options}, trained without a known object through the physics [hoidn2023]."


def _start(record: Mapping[str, Any], cited: list[str]) -> str:
    """How `ptycho reconstruct` found the object."""
    cited += ["maiden2017", "thibault2012"]
    weights = record.get("weights")
    if not weights:
        return "The object was found by regularised PIE steps [maiden2017] alone; no network was used."
    cited.append("hoidn2023")
    where = f" ({weights['trained_on']})" if weights.get("trained_on") else ""
    return (
        f"The object was found by the network {weights.get('network', '')}, whose stages are regularised PIE steps"
        f" [maiden2017], with weights from earlier trainings through the physics [hoidn2023]: {weights.get('source')}"
        f"{where}."
    )


def _training(record: Mapping[str, Any], config: Mapping[str, Any], auto: Mapping[str, Any], cited: list[str]) -> str:
    effective, training = record.get("effective", {}), config.get("training", {})
    scheduler, loss = config.get("scheduler", {}), config.get("loss", {})
    cited += ["kingma2014", "thibault2012"] if loss.get("name", "poisson") == "poisson" else ["kingma2014"]
    name = "the Poisson likelihood of the counts [thibault2012]"
    if loss.get("name") == "amplitude":
        name = "the squared difference of amplitudes"
    steps, groups = record.get("applied_steps", 0), effective.get("effective_batch", 1)
    rates = effective.get("learning_rates") or {}
    rate = ", ".join(f"{value:g} ({group})" for group, value in rates.items())
    text = f"It took {steps} optimizer steps of {groups} group{'s' * (groups != 1)} of neighbouring frames each"
    text += f" with {effective.get('optimizer', 'Adam')} [kingma2014]"
    text += f", base learning rates {rate}" if rate else ""
    text += f" and the schedule {scheduler.get('name', 'Default')}{_options(scheduler.get('options'))}, on {name}"
    if withheld := auto.get("loss.withheld"):
        cited.append("lehtinen2018")
        text += f"; {withheld:g} of the photons were withheld from the network and used for the loss [lehtinen2018]"
    share = auto.get("training.weight_interpolation", training.get("weight_interpolation", 1.0))
    if share not in ("auto", 1):
        cited.append("wortsman2022")
        text += f"; the final weights lie {share:.0%} of the way from the initial to the trained ones [wortsman2022]"
    text += f". The seed was {training.get('seed', 0)}, the precision {effective.get('precision', '32-true')}"
    return text + f" on {effective.get('devices', 1)} x {effective.get('accelerator', 'cpu')}."


def _forward_model(source: ReportSource, config: Mapping[str, Any], auto: Mapping[str, Any], cited: list[str]) -> str:
    result, physics = source.result, config.get("physics", {})
    modes = len(result.probe) if result is not None else int(auto.get("physics.probe_modes") or 1)
    text = "The forward model is a thin object and a far-field detector with "
    if modes > 1:
        cited.append("thibault2013")
        text += f"{modes} incoherent probe modes [thibault2013]"
    else:
        text += "one probe mode"
    trained = auto.get("physics.refine_probe", physics.get("refine_probe", True)) and source.command != "reconstruct"
    before = auto.get("physics.probe_warmup", physics.get("probe_warmup", 0))
    text += (
        ", refined with the network" if trained else ", refined by PIE steps" if before else ", which was kept fixed"
    )
    if result is not None and result.intensities is not None:
        text += "; the intensity of each frame was fitted"
    if result is not None and is_pattern(result.background):
        mean = mean_background(result.background)
        text += f"; a background pattern of {mean:.3g} photons per pixel on average is part of the model"
    elif result is not None and result.background:
        text += f"; a constant background of {result.background:.3g} photons per pixel is part of the model"
    if result is not None and result.stored_positions_px is not None:
        cited.append("odstrcil2018")
        text += "; positions were refined [odstrcil2018]"
    return f"{text}."


def _reconstruction(source: ReportSource, auto: Mapping[str, Any], cited: list[str]) -> str:
    made, text = source.record.get("reconstruction", {}), ""
    data = source.record.get("data", ())
    if data and source.command != "infer":
        frames = sum(int(scan.get("n_frames", 0)) for scan in data)
        text += f"The data are {frames} frames of {data[0].get('n_pixels')} px. "
    if made.get("config", {}).get("inference", {}).get("untrained"):
        text += "The reconstruction used the physics alone, without the trained CNN. "
    if polish := auto.get("inference.polish"):
        cited.append("thibault2012")
        text += f"The network's object was polished by {polish} iterations along the gradient of the likelihood"
        if tv_weight := auto.get("inference.tv_weight"):
            cited.append("rudin1992")
            text += f", with a total-variation prior of weight {tv_weight:g} [rudin1992]"
        text += ". "
    if source.result is not None and source.result.uncertainty is not None:
        cited.append("vanheel2005")
        text += "Resolution was estimated by the Fourier ring correlation of two halves of the frames [vanheel2005]. "
    if (verdict := source.verdict) is not None:
        text += f"Held-out frames are explained to {verdict['ratio']:.3g} times photon noise"
        text += f" ({verdict['deviance']:.3g} against {verdict['expected_deviance']:.3g} nats per pixel)."
    return text.rstrip()


def _options(options: Any) -> str:
    if not isinstance(options, Mapping) or not options:
        return ""
    return " (" + ", ".join(f"{name} = {value}" for name, value in options.items()) + ")"


def _article(key: str, author: str, title: str, journal: str, year: int, doi: str, where: str = "") -> str:
    rows = {"author": author, "title": f"{{{title}}}", "journal": journal, "year": str(year)}
    rows |= dict(part.split("=") for part in where.split(";") if part)
    rows["doi"] = doi
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in rows.items())
    return f"@article{{{key},\n{lines}\n}}"


_ENTRIES = {
    "ptycho_cli": "@software{ptycho_cli,\n  author = {{The ptycho-cli developers}},\n  title = {{ptycho-cli:"
    " ptychographic reconstruction with physics-informed networks from the command line}},\n"
    "  license = {BSD-3-Clause}\n}",
    "hoidn2023": _article(
        "hoidn2023", "Hoidn, Oliver and Mishra, Aashwin Ananda and Mehta, Apurva",
        "Physics constrained unsupervised deep learning for rapid, high resolution scanning coherent diffraction"
        " reconstruction", "Scientific Reports", 2023, "10.1038/s41598-023-48351-7", "volume=13;pages=22789",
    ),
    "maiden2017": _article(
        "maiden2017", "Maiden, Andrew and Johnson, Daniel and Li, Peng",
        "Further improvements to the ptychographical iterative engine", "Optica", 2017, "10.1364/OPTICA.4.000736",
        "volume=4;pages=736--745",
    ),
    "rudin1992": _article(
        "rudin1992", "Rudin, Leonid I. and Osher, Stanley and Fatemi, Emad",
        "Nonlinear total variation based noise removal algorithms", "Physica D: Nonlinear Phenomena", 1992,
        "10.1016/0167-2789(92)90242-F", "volume=60;pages=259--268",
    ),
    "thibault2012": _article(
        "thibault2012", "Thibault, Pierre and Guizar-Sicairos, Manuel",
        "Maximum-likelihood refinement for coherent diffractive imaging", "New Journal of Physics", 2012,
        "10.1088/1367-2630/14/6/063004", "volume=14;pages=063004",
    ),
    "thibault2013": _article(
        "thibault2013", "Thibault, Pierre and Menzel, Andreas",
        "Reconstructing state mixtures from diffraction measurements", "Nature", 2013, "10.1038/nature11806",
        "volume=494;pages=68--71",
    ),
    "odstrcil2018": _article(
        "odstrcil2018", "Odstr{\\v{c}}il, Michal and Menzel, Andreas and Guizar-Sicairos, Manuel",
        "Iterative least-squares solver for generalized maximum-likelihood ptychography", "Optics Express", 2018,
        "10.1364/OE.26.003108", "volume=26;pages=3108--3123",
    ),
    "cherukara2020": _article(
        "cherukara2020", "Cherukara, Mathew J. and others",
        "AI-enabled high-resolution scanning coherent diffraction imaging", "Applied Physics Letters", 2020,
        "10.1063/5.0013065", "volume=117;pages=044103",
    ),
    "kingma2014": _article(
        "kingma2014", "Kingma, Diederik P. and Ba, Jimmy", "Adam: A method for stochastic optimization",
        "arXiv preprint arXiv:1412.6980", 2014, "10.48550/arXiv.1412.6980",
    ),
    "wortsman2022": _article(
        "wortsman2022", "Wortsman, Mitchell and others", "Robust fine-tuning of zero-shot models",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition", 2022, "10.1109/CVPR52688.2022.00780",
    ),
    "lehtinen2018": _article(
        "lehtinen2018", "Lehtinen, Jaakko and others", "Noise2Noise: Learning image restoration without clean data",
        "arXiv preprint arXiv:1803.04189", 2018, "10.48550/arXiv.1803.04189",
    ),
    "vanheel2005": _article(
        "vanheel2005", "van Heel, Marin and Schatz, Michael", "Fourier shell correlation threshold criteria",
        "Journal of Structural Biology", 2005, "10.1016/j.jsb.2005.05.009", "volume=151;pages=250--262",
    ),
}  # fmt: skip
