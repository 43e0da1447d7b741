"""Everything that is asked of a model, stored in the case folder."""
