"""Formats that reconstructions are exported to: one module for each, with an entry ``FORMAT``."""
