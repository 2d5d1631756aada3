"""From a feed to the pipeline: what feed= means, where ticks go, klines, stalled legs, its log."""
