"""A control plane on this machine that schedules for real and runs nothing that costs money."""
