"""The writer in a simulated world: virtual time, a broker of lists, NetSuite's stand-in without sockets."""
