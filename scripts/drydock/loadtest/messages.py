"""What master and workers say to each other beside Locust's own messages."""

BEGIN = "drydock-begin"
"""Master: the stage starts `at`, wall-clock seconds."""
INTERRUPT = "drydock-interrupt"
"""Master: give up what is under way and hand over the rows."""
PROGRESS = "drydock-progress"
"""Worker: counts so far."""
RECORDS = "drydock-records"
"""Worker: a part of its rows as the bytes of an .npz file; with the `last` its watch on itself."""
FAILED = "drydock-failed"
"""Worker: it cannot make its load, and why."""

SECONDS_BETWEEN_REPORTS = 0.5
