"""What a rehearsal cannot show, as its report says it."""

LIMITS = (
    "Images were neither pulled nor run: whether one exists, starts and serves, and how long pulling it and loading a "
    "model takes, is not in the seconds to ready.",
    "There are no drivers, kernels or networks: GPUs, EFA and NCCL work, and NetworkPolicies hold, is not shown.",
    "EC2 had all capacity that the account's stated quotas allow; spot interruptions and insufficient-capacity errors "
    "did not happen.",
    "Nothing measures pods here, so autoscaling on metrics did not happen.",
    "AWS answered from a stand-in that holds what the node classes select; that the real account does is not shown.",
)
