"""Clusters that exist: environments on kind, on an EKS test account, or on a cluster of one's own."""
