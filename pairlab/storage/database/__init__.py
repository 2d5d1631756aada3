"""PostgreSQL and TimescaleDB as a long-term store of ticks, rows, alerts and journals."""
