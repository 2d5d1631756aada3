"""What a lab decides, for other programs that act on it."""

__all__: list[str] = []
