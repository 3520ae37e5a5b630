"""What people do with a platform, tried on a rehearsal that was kept: `drydock journey` (docs/rehearsal.md)."""
