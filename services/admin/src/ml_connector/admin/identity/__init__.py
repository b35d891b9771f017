"""Who asks, and what they may do: roles, tokens, keys."""
