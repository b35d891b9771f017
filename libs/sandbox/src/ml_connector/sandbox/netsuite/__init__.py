"""A stand-in for NetSuite's SuiteTalk REST API, as strict and as quirky as its documents say."""
