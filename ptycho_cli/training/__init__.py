"""Training with Lightning: module, accumulation, checkpoints and the run folder."""
