"""Specifier -> model."""
