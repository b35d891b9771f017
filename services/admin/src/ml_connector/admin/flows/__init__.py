"""What is known of flows: look."""
