"""A server to try: a sample estate in an emulated AWS, and a guided tour over the real API."""
