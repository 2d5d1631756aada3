"""Benchmarks against a peer or a lower bound, in one run: ``python -m tests.benchmarks``."""
