"""What the Python files of the chart model-gateway do, as the processes that its pods run."""
