"""Binance's protocol without I/O: messages, WebSocket frames, control messages, REST.

Independent of markets and of the server, so that other services can reuse it.
"""
