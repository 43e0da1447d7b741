"""Train a student from a teacher, with a record of what went in."""
