"""mlc: the command line for people."""
