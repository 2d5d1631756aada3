"""Interfaces of a lab for other programs: the REST API (extra ``api``)."""

__all__: list[str] = []
