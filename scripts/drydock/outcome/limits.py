"""What a rehearsal cannot show, as its report says it."""

LIMITS = (
    "Images were neither pulled nor run: whether one exists, starts and serves, and how long pulling it and loading a "
    "model takes, is not in the seconds to ready.",
    "There are no drivers, kernels or networks: that GPUs, EFA and NCCL work is not shown, nor that NetworkPolicies "
    "hold between pods, but for connections that a live rehearsal on Linux tried.",
    "EC2 refused what exceeds quotas that are stated or were read, and had everything else: that it runs out of "
    "capacity or interrupts spot instances is not shown.",
    "Nothing measures pods here, so autoscaling on metrics did not happen.",
    "AWS answered from a stand-in that holds what the node classes select; that the real account does is not shown.",
)
