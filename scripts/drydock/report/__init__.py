"""What a rehearsal found, as data, for terminals, machines and browsers."""
