"""Algorithms that find what a scan needs besides the object: probe, modes, intensities, background, positions."""
