"""Fixtures that every stage's tests share."""
