"""Binance USDⓈ-M Futures: messages, addresses, REST, exchange metadata, klines."""
