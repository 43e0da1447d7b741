"""Specifier -> model. Importing this package imports no torch."""

from auditor.models.specifier import Specifier, identify, open_model, parse

__all__ = ["Specifier", "identify", "open_model", "parse"]
