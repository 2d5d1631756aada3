"""The pairs of a scan: table, heat maps, what chance finds, and one pair at a time."""
