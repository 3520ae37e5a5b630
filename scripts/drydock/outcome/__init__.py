"""What became of an installation: the same for rehearsals and deployments."""
