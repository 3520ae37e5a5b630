"""Tests of Argo CD's view of an environment."""
