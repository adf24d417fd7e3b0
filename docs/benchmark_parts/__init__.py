"""Parts of ``docs/benchmarks.py``, one module for each kind of scan or subject."""
