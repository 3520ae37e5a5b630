"""The account and cluster of an environment as they are: what `drydock account` reads, without changing anything."""
