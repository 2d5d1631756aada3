"""Tests of `pairlab.lab.record`."""
