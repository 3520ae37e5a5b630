"""What the clusters have on which environments are installed."""
