"""Algorithms that estimate probe, modes, intensities, background and positions of a scan before training."""
