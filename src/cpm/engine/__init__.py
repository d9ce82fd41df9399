"""Makes policies real: rows say what is to be done, and when; workers look at rows and act."""
