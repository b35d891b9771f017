"""What is known of NetSuite itself: tokens, requests, answers."""
