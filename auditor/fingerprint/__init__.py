"""Clean-team mode: two parties compare models by fingerprints that hold no weights and no text."""
