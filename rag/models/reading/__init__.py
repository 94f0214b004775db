"""Reader and verifier: answers to a question within passages, and whether passages support a claim."""
