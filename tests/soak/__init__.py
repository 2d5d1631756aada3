"""Long random runs: the feed against every fault, held tick by tick against the clean market."""
