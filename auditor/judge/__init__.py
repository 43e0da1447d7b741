"""From measurements to a reading, with its rank, its limits and its words."""
