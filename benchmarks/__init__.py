"""Figures, measured: `python -m benchmarks` prints them. Nothing here is a test; nothing in `tests/` is timed."""
