"""Measures of how well a model draws."""
