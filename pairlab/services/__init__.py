"""Other programs that a lab serves: the REST API (extra ``api``)."""

__all__: list[str] = []
