"""Drydock: proves a change to a generative-AI platform on Amazon EKS before it costs anything."""

__version__ = "0.1.0"
