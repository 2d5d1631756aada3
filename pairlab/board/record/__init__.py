"""A board being recorded: a folder a pair."""
