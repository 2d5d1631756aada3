"""What a recorded session decided, decided again: its journal replayed, its decisions filled."""
