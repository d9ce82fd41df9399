"""Rows, their constraints and named querysets; what they mean is decided above.

Import a model from the file of its noun: `from cpm.models.policies import Policy`.
"""
