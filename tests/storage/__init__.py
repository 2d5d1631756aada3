"""Tests of `pairlab.storage`."""
