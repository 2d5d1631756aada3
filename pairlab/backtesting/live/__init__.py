"""What the decisions of a live session make, by the rules of a backtest, as its ticks come."""
