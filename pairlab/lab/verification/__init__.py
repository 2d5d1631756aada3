"""Proves recordings: replays the journal, compares rows and alerts, says what it found."""
