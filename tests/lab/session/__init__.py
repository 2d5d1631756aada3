"""Labs in files."""
