"""Where ticks come from: wire format, Binance connection, REST."""
