"""Scans: reading, checking, grouping, simulating and writing them."""
