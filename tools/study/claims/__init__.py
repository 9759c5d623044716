"""Claims: statements about a study's results, as functions, written before its runs.

A file of claims has a function `get_claims` that returns `claim.Claim` objects. The
record of each final run has the hash of the file, and only the file with that hash is
judged by the run.
"""
