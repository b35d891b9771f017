"""look, explain, replay: what happened to a record, why it failed, and doing it again."""
