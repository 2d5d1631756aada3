"""A session in one file: what a lab held at a moment, as data alone."""
