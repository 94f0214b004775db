"""Training of the reader and verifier; `python -m training` runs it all.

The installed package needs none of this: it contains the trained weights.
"""
