"""Whole-scan reconstruction with a trained run."""
