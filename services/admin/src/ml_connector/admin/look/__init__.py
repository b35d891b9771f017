"""What can be seen: timelines, dead letters, their groups, acts."""
