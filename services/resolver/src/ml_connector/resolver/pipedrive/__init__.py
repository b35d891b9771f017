"""What is known of Pipedrive itself: requests, answers, when to leave it alone."""
