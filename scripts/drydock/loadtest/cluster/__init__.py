"""Load tests of models that run in a cluster: found, reached, and loaded from inside."""
