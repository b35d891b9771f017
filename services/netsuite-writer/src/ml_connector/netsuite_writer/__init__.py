"""accept, schedule, batch, write, settle."""
