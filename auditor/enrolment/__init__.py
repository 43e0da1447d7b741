"""What is asked once, with the model that is known, so that `auditor watch` can tell it later."""
