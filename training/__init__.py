"""Training of the bundled generator's LoRA adapter; `python -m training` runs it all.

The installed package needs none of this: it contains the trained adapter.
"""
