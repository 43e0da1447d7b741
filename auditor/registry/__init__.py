"""Many models at once: lists and folders of them, a cheap look at their files, what they claim.

What is found here is context. No reading and no likelihood ratio rests on it.
"""
