"""Stand-ins for Pipedrive and NetSuite, and the local broker."""
