"""Tests of `drydock diff`."""
