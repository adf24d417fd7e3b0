"""Every core setting, written once: type, default, unit, bounds, flag and help.

Command-line help, tables, environment names, the JSON schema and the reference page follow
from these fields. All models are frozen; plugin options are frozen models of their own.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, SerializeAsAny
from pydantic.config import JsonDict


class Group(BaseModel):
    """Base of all groups of settings: frozen, finite, and no unknown names.

    Validators are built at first use: most commands need few of them or none, and start sooner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True)


class Options(Group):
    """Base of the options of what a plugin offers: a scheduler, a network or a callback."""


def setting(
    default: Any,
    help: str,  # the word that users and typer know
    *,
    flag: str | None = None,
    unit: str | None = None,
    **bounds: Any,
) -> Any:
    """A field of the schema.

    Args:
        default: The built-in default; the only place where it is written.
        help: One sentence for help, table and reference page.
        flag: Command-line spelling, such as ``-o/--output-dir``; None means ``--set`` only.
        unit: Unit of the value, such as ``frames``.
        **bounds: pydantic bounds: ``ge``, ``gt``, ``le``, ``lt``, ``min_length``.
    """
    extra: JsonDict = {"flag": flag, "unit": unit}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


NonNegativeFloat = Annotated[float, Field(ge=0.0)]
NonNegativeInt = Annotated[int, Field(ge=0)]


class DataSettings(Group):
    """Which scans to read and how to understand them."""

    paths: tuple[str, ...] = setting((), "Scan files to train on.", flag="DATA")
    validation_paths: tuple[str, ...] = setting(
        (), "Scan files to validate on, instead of held-out frames.", flag="--val-data"
    )
    group_size: int = setting(
        48, "Neighbouring frames reconstructed together on one canvas.", flag="--group-size", unit="frames", ge=1
    )
    validation_fraction: float = setting(
        0.05, "Share of the frames held out to watch for fitted noise; 0 holds out none.", ge=0.0, lt=0.5
    )
    zero_frequency: Literal["auto", "center", "corner"] = setting(
        "auto", "Where the zero frequency lies in the stored frames."
    )
    position_unit: Literal["auto", "px", "m"] = setting("auto", "Unit of the stored positions.")
    position_order: Literal["auto", "yx", "xy"] = setting("auto", "Order of the two columns of stored positions.")
    flip_positions: Literal["none", "y", "x", "yx"] = setting("none", "Position axes whose sign is reversed.")
    stored: Literal["auto", "counts", "amplitude"] = setting(
        "auto", "Whether the stored frames are photon counts or amplitudes, which are squared."
    )
    object_pixel_m: float | None = setting(
        None,
        "Size of an object pixel; by default from wavelength, distance and detector pixel in the file.",
        unit="m",
        gt=0.0,
    )
    mask_bad_pixels: bool = setting(True, "Look for hot and dead detector pixels in the frames, and mask them.")
    max_frames: int | None = setting(None, "Read only the first frames of each scan.", unit="frames", ge=1)


class ModelSettings(Group):
    """The network and its own options; a checkpoint fixes all of these."""

    name: str = setting("unrolled", "Network to train; see `ptycho plugins list`.", flag="--network", min_length=1)
    options: SerializeAsAny[InstanceOf[BaseModel]] = Field(default_factory=Options)


class PhysicsSettings(Group):
    """The forward model and what is fitted in it besides the object."""

    alpha: Annotated[float, Field(gt=0.0)] | Literal["auto"] = setting(
        "auto",
        "Regularisation of the physics step (0.1 for clean data, 1 to 5 for noisy); auto follows the photons.",
    )
    refine_probe: bool = setting(True, "Refine the probe during training.")
    probe_modes: int | None = setting(
        None,
        "Modes of the probe, which add in intensity; by default as many as the file has, or three in place of one "
        "where the data ask for them.",
        flag="--probe-modes",
        unit="modes",
        ge=1,
        le=16,
    )
    refine_positions: bool = setting(
        False,
        "Refine the positions of the frames before training, and of each scan at infer.",
        flag="--refine-positions",
    )
    max_position_shift_px: float = setting(
        6.0, "Longest move of a frame where positions are refined.", unit="px", gt=0.0
    )
    refine_intensity: Literal["auto", "always", "never"] = setting(
        "auto", "Find a factor on the photons of each frame, for a beam that is not steady; auto asks the data."
    )
    background: NonNegativeFloat | Literal["auto"] = setting(
        "auto", "Photons that every pixel of every frame counts besides; auto finds them.", unit="photons"
    )
    probe_warmup: NonNegativeInt | Literal["auto"] = setting(
        "auto",
        "Iterations of the physics step alone that refine the probe before training; auto asks the data.",
        unit="iterations",
    )


class LossSettings(Group):
    """What is minimised."""

    name: Literal["poisson", "amplitude"] = setting("poisson", "Likelihood of the counts.", flag="--loss")
    withheld: Annotated[float, Field(ge=0.0, lt=1.0)] | Literal["auto"] = setting(
        "auto",
        "Share of every frame's photons that the loss is taken on and the network does not see; auto follows network "
        "and dose.",
    )


class OptimizerSettings(Group):
    """Adam and its base learning rates."""

    learning_rate: float = setting(2e-3, "Base learning rate of the network.", flag="--learning-rate", gt=0.0)
    probe_learning_rate: float = setting(
        3e-4, "Base learning rate of the probe, relative to its largest amplitude.", ge=0.0
    )
    weight_decay: float = setting(0.0, "Decoupled weight decay of the network.", ge=0.0)


class SchedulerSettings(Group):
    """The learning-rate scheduler and its own options."""

    name: str = setting(
        "Default", "Learning-rate scheduler; see `ptycho schedulers list`.", flag="--scheduler", min_length=1
    )
    options: SerializeAsAny[InstanceOf[BaseModel]] = Field(default_factory=Options)


class CallbackSettings(Group):
    """One callback, with its own options."""

    name: str
    options: SerializeAsAny[InstanceOf[BaseModel]] = Field(default_factory=Options)


class TrainingSettings(Group):
    """How long, in what portions, and where to."""

    output_dir: str | None = setting(None, "Folder of the run; made new.", flag="-o/--output-dir")
    epochs: int = setting(6, "Times to go through the groups.", flag="--epochs", ge=1)
    batch_size: int = setting(1, "Groups in a batch.", flag="--batch-size", unit="groups", ge=1)
    n_groups: int | None = setting(
        None,
        "Groups per epoch, after the held-out frames; by default enough to see every frame twice.",
        flag="--n-groups",
        unit="groups",
        ge=1,
    )
    accumulate_grad_batches: int = setting(
        1, "Batches whose gradients make one optimizer step.", flag="--accumulate-grad-batches", unit="batches", ge=1
    )
    gradient_clip_val: float | None = setting(
        None, "Largest norm of the accumulated gradient.", flag="--gradient-clip-val", gt=0.0
    )
    seed: int = setting(
        0, "Seed of groups, of what is held out or withheld, and of weights.", flag="--seed", ge=0, le=2**32 - 1
    )


class ExecutionSettings(Group):
    """Where and how it runs; never changes what is computed beyond rounding."""

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting("auto", "Hardware to run on.", flag="--accelerator")
    devices: int = setting(
        1, "Devices of each node to train on, one process each.", flag="--devices", unit="devices", ge=1
    )
    num_nodes: int = setting(1, "Nodes of a cluster to train on together.", flag="--num-nodes", unit="nodes", ge=1)
    precision: Literal["32-true", "64-true"] = setting(
        "32-true", "Floating-point precision of all arithmetic.", flag="--precision"
    )
    num_workers: int = setting(
        0, "Processes that prepare batches beside the training.", flag="--num-workers", unit="processes", ge=0
    )
    deterministic: bool = setting(
        True, "Use only algorithms that give the same bits every time.", flag="--deterministic/--no-deterministic"
    )
    logger: Literal["csv", "none"] = setting("csv", "Where the rates and losses of every step go.", flag="--logger")


class CheckpointSettings(Group):
    """What is kept of the weights, and when training stops early."""

    enabled: bool = setting(True, "Write checkpoints.", flag="--enable-checkpointing/--disable-checkpointing")
    save_top_k: int = setting(
        1, "Best checkpoints to keep; -1 keeps all.", flag="--checkpoint-save-top-k", unit="files", ge=-1
    )
    monitor: Literal["val_loss", "train_loss"] = setting(
        "val_loss", "Figure that ranks checkpoints and stops training early.", flag="--checkpoint-monitor"
    )
    mode: Literal["min", "max"] = setting(
        "min", "Whether a lower or a higher figure is better.", flag="--checkpoint-mode"
    )
    early_stop_patience: int = setting(
        100, "Epochs without improvement before training stops.", flag="--early-stop-patience", unit="epochs", ge=1
    )


class InferenceSettings(Group):
    """How a trained run reconstructs a scan."""

    polish: NonNegativeInt | Literal["auto"] = setting(
        "auto",
        "Iterations of the physics step alone after the network; auto follows network, photons and size, 0 makes none.",
        flag="--polish",
        unit="iterations",
    )
    untrained: bool = setting(False, "Keep the CNN silent: the same stages, physics alone.", flag="--untrained")
    uncertainty: bool = setting(
        False, "Also reconstruct halves of the frames, and without held-out ones, to tell errors.", flag="--uncertainty"
    )
    probe: Literal["run", "scan"] = setting(
        "run", "Probe to use: the run's refined one, or the one in the scan's file.", flag="--probe"
    )


class Config(Group):
    """All settings of a run."""

    data: DataSettings = Field(default_factory=DataSettings)
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
