"""Messages between kernel and browser: batching, acknowledgements, resync, pointer, latency."""
