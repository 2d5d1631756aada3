"""Where the prices of a scan come from, beside a DataFrame."""
