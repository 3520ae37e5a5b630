"""Pytest fixtures for suites, rehearsals and clusters."""
