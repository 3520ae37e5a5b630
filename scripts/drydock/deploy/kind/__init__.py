"""A kind cluster on this machine: a real node, and stand-ins for AWS and for the nodes of the node pools."""
