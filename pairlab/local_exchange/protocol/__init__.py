"""Binance protocol of the local exchange, without I/O: control messages, frames, REST."""
