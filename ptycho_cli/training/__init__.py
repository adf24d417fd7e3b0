"""Training: from an assembled network to a trained run folder, with Lightning."""
