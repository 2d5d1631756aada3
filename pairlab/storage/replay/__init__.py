"""What was recorded, as a feed: recordings, raw frames, archives, and tables of one's own."""
