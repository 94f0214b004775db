"""Evaluation: measures on a user's own questions, calibration, synthetic questions, citation audits.

Nothing here is needed for answering a question, except that `calibration` writes the threshold that the
chatbot reads.
"""
