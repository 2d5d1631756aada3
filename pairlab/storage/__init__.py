"""Ticks from files: Binance's public archive, read and fetched."""
