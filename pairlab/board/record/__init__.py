"""A board being recorded, a folder a pair, and served over REST."""
