"""receive, verify, stamp, publish."""
