"""What breaks in a platform, tried under load on a rehearsal whose pods run (docs/rehearsal.md)."""
