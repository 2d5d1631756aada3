"""Many settings over the same past: metrics once, decisions often, and how much of it is luck."""
