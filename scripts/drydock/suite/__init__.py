"""The suite: its charts, their values, and the manifests that they render."""
