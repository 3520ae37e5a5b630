"""Tests of the checks, and of the command that runs them."""
