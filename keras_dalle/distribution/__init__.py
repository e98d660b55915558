"""Placement of a training run on devices."""
