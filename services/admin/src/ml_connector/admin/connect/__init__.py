"""ask, take, exchange, keep: a company's administrator lets us in by OAuth 2.0."""
