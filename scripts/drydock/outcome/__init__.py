"""What became of an installation, whoever installed it: the same for rehearsals and deployments."""
