"""One source for what a chart takes: its annotated values.yaml, from which schema and README are generated."""
