"""Tables of one's own: CSV, NDJSON and Parquet, their columns guessed or named."""
