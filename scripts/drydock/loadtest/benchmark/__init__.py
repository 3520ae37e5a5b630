"""The load generator beside others: against one server that logs when it sent what, on one core each."""
