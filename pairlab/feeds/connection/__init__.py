"""WebSocket connections: opening, replacing, sharing them; stall detection."""
