"""Load on an OpenAI-compatible endpoint: what is sent when, and what came back when."""
