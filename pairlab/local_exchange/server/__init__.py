"""The loopback server: clients, fan-out, injected faults."""
