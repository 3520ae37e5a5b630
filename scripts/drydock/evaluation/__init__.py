"""How well a model answers a team's own questions: scores with confidence intervals, cost, latency, and a gate."""
