"""Which pods can run on which node pools, judged by Karpenter's rules and without a cluster."""
