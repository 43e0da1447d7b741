"""Named, versioned pure functions of stored outputs; one measure a file, found by scanning."""
