"""Charts on the shared time axis, the histogram, and decimation."""
