"""What travels, where it travels, what can go wrong."""
