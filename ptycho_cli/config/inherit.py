"""What a command takes over from an earlier run, what that run fixes there, and what may change."""

from __future__ import annotations

from typing import NamedTuple

# Settings about training alone: reconstruction needs none of them, so it must not fail where the plugins of a
# scheduler or a callback are not installed.
_OF_TRAINING = ("optimizer.", "scheduler.", "callbacks.", "training.", "checkpoint.")
# The learning-rate schedule: a resumed run asks which one to follow where the settings differ from its own.
SCHEDULE = ("optimizer.", "scheduler.", "training.epochs")
# What a resumed run may change; that its data files hold the same bytes is checked when they are read.
_FREE_ON_RESUME = (
    *("data.paths", "data.validation_paths", "training.output_dir", "training.gradient_clip_val"),
    *("callbacks.", "execution.", "checkpoint.", "inference."),
)

INIT_FROM = "init-from"


class Use(NamedTuple):
    """How a command uses an earlier run; keys, or groups such as ``model.``.

    Attributes:
        left_out: What is not taken over.
        fixed: What cannot be changed; None: everything but ``free``.
        free: What can be changed.
        ignored: What has no effect in this command, so that typing it is an error; a settings file may hold it.
    """

    left_out: tuple[str, ...]
    fixed: tuple[str, ...] | None = None
    free: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def fixes(self, key: str) -> bool:
        """Whether the run's value of a key cannot be changed."""
        if self.fixed is not None:
            return key.startswith(self.fixed)
        return not key.startswith((*self.free, *self.left_out))


USES = {
    "infer": Use(
        left_out=(
            *("data.paths", "data.validation_paths", "data.max_frames", "execution.", "inference."),
            *_OF_TRAINING,
        ),
        fixed=("model.", "physics."),
        ignored=(
            *("data.validation_paths", "data.validation_fraction", "data.group_size", "loss.", *_OF_TRAINING),
            *("execution.devices", "execution.num_nodes", "execution.num_workers"),
            *("execution.deterministic", "execution.logger"),
        ),
    ),
    # A new training that starts from a run's weights; how that one was trained says little of how to go on.
    INIT_FROM: Use(
        left_out=(
            *("data.paths", "data.validation_paths", "data.max_frames", "execution.", "inference."),
            *_OF_TRAINING,
        ),
        fixed=("model.",),
    ),
    "train": Use(left_out=("inference.",), free=(*_FREE_ON_RESUME, *SCHEDULE)),
}
