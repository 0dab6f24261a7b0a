"""What two or more processes share; it knows no process."""
