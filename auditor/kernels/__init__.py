"""Similarity kernels: a float64 reference and fast implementations behind one function."""
