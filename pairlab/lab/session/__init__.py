"""A lab in a file: taken from a running one, written, and opened again."""
