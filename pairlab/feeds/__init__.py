"""Where ticks come from: wire format, sequence, Binance connection, REST."""
