"""Other tools and published statistics on the same models, for comparison: never evidence."""
