"""A believable company, played through the whole product and compared with what NetSuite should hold."""
