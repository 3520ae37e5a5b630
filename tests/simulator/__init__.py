"""The vLLM simulator."""
