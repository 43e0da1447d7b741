"""The agreement kernel for NVIDIA GPUs in Triton, the extra `auditor[triton]`.

Nothing here is imported before it is asked for: `triton` is an optional package.
"""
