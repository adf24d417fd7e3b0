"""Every core setting, defined once: type, default, unit, bounds, flag and help.

Command-line help, tables, names of environment variables, the JSON schema and the reference pages follow
from these fields. All models are frozen; the options of a plugin are a frozen model too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, InstanceOf, SerializeAsAny

from ptycho_cli.config.data_settings import DataSettings, ProbeSettings
from ptycho_cli.config.settings_group import Group, NonNegativeFloat, NonNegativeInt, Options, setting


class ModelSettings(Group):
    """The network and its options. A checkpoint fixes them."""

    name: str = setting("unrolled", "Network to train; see `ptycho plugins list`.", flag="--network", min_length=1)
    weights: str = setting(
        "auto",
        "Weights that the network starts from: none, shipped (those that come with the program), the folder of a run, "
        "the name of those of a plugin, or a file of `ptycho weights export`; auto takes the shipped ones where they "
        "fit the network's options, and none for simulated scans.",
        flag="--weights",
        min_length=1,
    )
    options: SerializeAsAny[InstanceOf[BaseModel]] = Field(default_factory=Options)


class PhysicsSettings(Group):
    """The forward model, and the quantities that are fitted with the object."""

    alpha: Annotated[float, Field(gt=0.0)] | Literal["auto"] = setting(
        "auto",
        "Regularisation of the physics step: 0.1 for clean data, 1 to 5 for noisy data; auto derives it from the "
        "photon counts. The network refiner has an option of its own for its steps.",
    )
    refine_probe: bool | Literal["auto"] = setting(
        "auto",
        "Train the probe with the network; auto keeps the file's probe as it is where photons are few (they are "
        "withheld) and it explains held-out frames without refinement.",
    )
    probe_modes: int | None = setting(
        None,
        "Number of probe modes, which add in intensity; by default that of the file, or 3 in place of 1 if the data "
        "require it.",
        flag="--probe-modes",
        unit="modes",
        ge=1,
        le=16,
    )
    probe_per_scan: Literal["auto", "always", "never"] = setting(
        "auto",
        "Find a probe for each training scan, which then stays as it is, or one for all; auto finds several where "
        "frame sizes, object pixels or stored probes differ.",
    )
    refine_positions: bool | Literal["auto"] = setting(
        "auto",
        "Refine the positions of the frames before training, and again for each scan in `ptycho infer`; auto refines "
        "those of a scan that nothing else explains (finding positions-error).",
        flag="--refine-positions",
    )
    max_position_shift_px: float = setting(
        6.0, "Largest shift of a frame when positions are refined.", unit="px", gt=0.0
    )
    refine_intensity: Literal["auto", "always", "never"] = setting(
        "auto", "Fit the intensity of each frame, for a beam that is not steady; auto decides from the data."
    )
    background: NonNegativeFloat | Literal["auto"] = setting(
        "auto", "Constant background of each pixel in each frame; auto estimates it, also as a pattern.", unit="photons"
    )
    probe_warmup: NonNegativeInt | Literal["auto"] = setting(
        "auto",
        "Physics-only iterations that refine the probe before training; auto decides from the data.",
        unit="iterations",
    )


class LossSettings(Group):
    """The loss function."""

    name: Literal["poisson", "amplitude", "object"] = setting(
        "poisson",
        "Loss: the Poisson likelihood of the counts, the squared difference of amplitudes, or that of objects, for "
        "simulated scans.",
        flag="--loss",
    )
    withheld: Annotated[float, Field(ge=0.0, lt=1.0)] | Literal["auto"] = setting(
        "auto",
        "Fraction of each frame's photons that is withheld from the network and used for the loss; auto depends on "
        "the network and the dose.",
    )


class OptimizerSettings(Group):
    """Adam and its base learning rates."""

    learning_rate: float = setting(2e-3, "Base learning rate of the network.", flag="--learning-rate", gt=0.0)
    probe_learning_rate: float = setting(
        3e-4, "Base learning rate of the probe, relative to its largest amplitude.", ge=0.0
    )
    weight_decay: float = setting(0.0, "Decoupled weight decay of the network.", ge=0.0)


class SchedulerSettings(Group):
    """The learning-rate scheduler and its options."""

    name: str = setting(
        "Default", "Learning-rate scheduler; see `ptycho schedulers list`.", flag="--scheduler", min_length=1
    )
    options: SerializeAsAny[InstanceOf[BaseModel]] = Field(default_factory=Options)


class CallbackSettings(Group):
    """A callback and its options."""

    name: str
    options: SerializeAsAny[InstanceOf[BaseModel]] = Field(default_factory=Options)


class TrainingSettings(Group):
    """Length, batches, seed and output folder of a training."""

    output_dir: str | None = setting(None, "Folder of the run; it must be new or empty.", flag="-o/--output-dir")
    epochs: int = setting(6, "Number of passes over the training groups.", flag="--epochs", ge=1)
    batch_size: int = setting(1, "Groups per batch.", flag="--batch-size", unit="groups", ge=1)
    n_groups: int | None = setting(
        None,
        "Training groups per epoch; by default enough to use every frame twice.",
        flag="--n-groups",
        unit="groups",
        ge=1,
    )
    accumulate_grad_batches: int = setting(
        1,
        "Batches whose gradients are accumulated for one optimizer step.",
        flag="--accumulate-grad-batches",
        unit="batches",
        ge=1,
    )
    gradient_clip_val: float | None = setting(
        None,
        "Largest norm of the accumulated gradient; by default it is not clipped.",
        flag="--gradient-clip-val",
        gt=0.0,
    )
    stop: Literal["auto", "never"] = setting(
        "auto",
        "End the training once held-out frames gain less than their noise; where the number of epochs or a scheduler "
        "is set, the training goes to its end unless this is set too.",
        flag="--stop",
    )
    weight_interpolation: Annotated[float, Field(gt=0.0, le=1.0)] | Literal["auto"] = setting(
        "auto",
        "Where the final weights lie between those that the training started from (0) and the trained ones (1); auto "
        "is below 1 where photons are withheld and few, and held-out frames are explained as well.",
    )
    compare_untrained: bool = setting(
        False,
        "At the end, also reconstruct by physics alone, with the same stages and polish, and score it.",
        flag="--compare-untrained",
    )
    seed: int = setting(
        0,
        "Seed of the groups, the held-out frames, the withheld photons and the initial weights.",
        flag="--seed",
        ge=0,
        le=2**32 - 1,
    )
    report: bool = setting(True, "Write report.html into the folder of the run.", flag="--report/--no-report")


class ExecutionSettings(Group):
    """Hardware, precision and logging. Results do not depend on it beyond rounding."""

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting("auto", "Hardware to run on.", flag="--accelerator")
    devices: int = setting(1, "Devices of each node, one process for each.", flag="--devices", unit="devices", ge=1)
    num_nodes: int = setting(1, "Cluster nodes to train on.", flag="--num-nodes", unit="nodes", ge=1)
    precision: Literal["32-true", "64-true"] = setting(
        "32-true", "Floating-point precision of all computations.", flag="--precision"
    )
    num_workers: int = setting(
        0, "Processes that prepare batches while the training runs.", flag="--num-workers", unit="processes", ge=0
    )
    deterministic: bool = setting(
        True,
        "Use only algorithms that give the same bits every time they run.",
        flag="--deterministic/--no-deterministic",
    )
    logger: tuple[Literal["csv", "tensorboard", "mlflow", "wandb", "none"], ...] = setting(
        ("csv",),
        "Loggers beside metrics.csv, which is always written: csv (gradient norm, callbacks), tensorboard, mlflow, "
        "wandb or none; several as a,b.",
        flag="--logger",
    )
    live: tuple[Literal["terminal", "html"], ...] = setting(
        (),
        "Show the object while it is trained: terminal, a small phase above the progress bar; html, a page in "
        "RUN/live.html; or both, as a,b.",
        flag="--live",
    )
    picture_every: int = setting(
        1,
        "Epochs between two pictures of the object, in --live and in loggers that show pictures.",
        flag="--picture-every",
        unit="epochs",
        ge=1,
    )


class CheckpointSettings(Group):
    """Checkpoints and early stopping."""

    enabled: bool = setting(True, "Write checkpoints.", flag="--enable-checkpointing/--disable-checkpointing")
    save_top_k: int = setting(
        1, "Number of best checkpoints to keep; -1 keeps all.", flag="--checkpoint-save-top-k", unit="files", ge=-1
    )
    monitor: Literal["val_loss", "train_loss"] = setting(
        "val_loss", "Loss that ranks checkpoints and stops training early.", flag="--checkpoint-monitor"
    )
    mode: Literal["min", "max"] = setting(
        "min", "Better direction of the monitored loss: lower (min) or higher (max).", flag="--checkpoint-mode"
    )
    early_stop_patience: int = setting(
        100, "Epochs without improvement after which training stops.", flag="--early-stop-patience", unit="epochs", ge=1
    )


class InferenceSettings(Group):
    """Reconstruction of a scan with a trained run."""

    polish: NonNegativeInt | Literal["auto"] = setting(
        "auto",
        "Physics-only iterations after the network; auto depends on the network, the photon counts and the "
        "size of the scan; 0 switches them off.",
        flag="--polish",
        unit="iterations",
    )
    tv_weight: NonNegativeFloat | Literal["auto"] = setting(
        "auto",
        "Weight of a total-variation prior in the polish, which keeps smooth what the counts do not determine, as a "
        "factor on the square root of the photons on a pixel of typical illumination: some 0.1 at any dose. auto is "
        "the weight that explains held-out frames best, 0 among them.",
    )
    untrained: bool = setting(
        False, "Physics-only reconstruction: the same stages without the CNN.", flag="--untrained"
    )
    uncertainty: bool = setting(
        False,
        "Also estimate the errors, from reconstructions of parts of the frames.",
        flag="--uncertainty",
    )
    probe: Literal["run", "scan"] = setting(
        "run",
        "Probe to use: run, which the training refined, or scan, from the scan's file or found from its frames.",
        flag="--probe",
    )


Colours = Literal[
    "gray", "gray_r", "bone", "viridis", "cividis", "magma", "inferno", "plasma", "twilight", "twilight_shifted",
    "RdBu_r", "hsv",
]  # fmt: skip


class PictureSettings(Group):
    """Pictures of reconstructions and trainings."""

    format: Literal["png", "svg", "pdf"] = setting("png", "Format of pictures.", flag="--format")
    dpi: int = setting(
        110, "Resolution of pictures; in svg and pdf, images keep their own pixels.", flag="--dpi", unit="dots/inch",
        ge=30, le=1200,
    )  # fmt: skip
    amplitude_colours: Colours = setting("gray", "Colour map of amplitudes, a name of matplotlib.")
    phase_colours: Colours = setting("gray", "Colour map of phases; twilight and hsv have equal colours at -pi and pi.")


class Config(Group):
    """All settings of a run."""

    data: DataSettings = Field(default_factory=DataSettings)
    probe: ProbeSettings = Field(default_factory=ProbeSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    physics: PhysicsSettings = Field(default_factory=PhysicsSettings)
    loss: LossSettings = Field(default_factory=LossSettings)
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings)
    scheduler: SchedulerSettings = Field(default_factory=SchedulerSettings)
    callbacks: tuple[CallbackSettings, ...] = ()
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    execution: ExecutionSettings = Field(default_factory=ExecutionSettings)
    checkpoint: CheckpointSettings = Field(default_factory=CheckpointSettings)
    inference: InferenceSettings = Field(default_factory=InferenceSettings)
    pictures: PictureSettings = Field(default_factory=PictureSettings)
