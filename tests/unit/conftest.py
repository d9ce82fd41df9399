"""How the property tests draw their examples: the same ones in every run.

A run that has gone through once goes through again. To look for new examples, set
`HYPOTHESIS_PROFILE=exploring`.
"""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.register_profile("exploring", database=None, deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
