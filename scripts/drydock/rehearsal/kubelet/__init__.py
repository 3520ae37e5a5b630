"""A small kubelet: pods whose images this machine can run become processes of this user (docs/rehearsal.md)."""
