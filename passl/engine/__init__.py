"""The trainer (builds in order, runs, closes), the one training step, precision, and callbacks that only look.

Imports every room above it; only `cli` imports this one. There is no formula here: losses live in `modeling`.
"""
