"""Text generation: prompts, the language model interface, and its llama.cpp and HTTP implementations.

Checking and citing what a model writes belongs to `rag.answering`.
"""
