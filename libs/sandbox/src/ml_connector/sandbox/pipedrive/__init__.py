"""A stand-in for Pipedrive: REST API v2, webhooks v2 and their sender."""
