"""Detectors: one file per system."""
