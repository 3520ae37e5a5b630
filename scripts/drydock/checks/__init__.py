"""Everything that can be said of an environment without a cluster."""
