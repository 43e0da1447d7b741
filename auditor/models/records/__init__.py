"""Files of outputs that somebody else collected: found out by content, read a reply at a time."""
