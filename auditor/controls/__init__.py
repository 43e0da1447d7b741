"""Make control models: models whose relation to another one is known because we made them."""
