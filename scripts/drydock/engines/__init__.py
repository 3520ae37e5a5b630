"""What is known of vLLM, models, GPUs and images, without a cluster."""
