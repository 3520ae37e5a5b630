"""What the nodes of a running cluster hold and cost, as they come and go."""
