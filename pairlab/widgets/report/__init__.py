"""The report of a backtest: a dashboard of its result, and the same as a page of HTML."""
