"""Reconciles: what was told, finish, say why records differ, mend, forget. They are started and driven as syncs are."""
