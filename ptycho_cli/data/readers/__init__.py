"""Readers of scan files: one module for each layout, with an entry ``READER``; ``registry`` asks them in turn."""
