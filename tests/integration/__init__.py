"""Tests of an environment that is installed, the same on every target (`--cluster-type kind`)."""
