"""Long randomized runs: a feed under faults, compared tick by tick with a fault-free market."""
