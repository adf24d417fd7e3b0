"""Ptychographic reconstruction with physics-informed networks."""

__version__ = "0.1.0"
