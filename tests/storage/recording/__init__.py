"""Tests of `pairlab.storage.recording`."""
