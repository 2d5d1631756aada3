"""The page of a board: table, heat map, alerts of all pairs, and the dashboard of one of them."""
