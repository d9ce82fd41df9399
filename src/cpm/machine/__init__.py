"""What runs on a worker machine: it asks the server for work, and has neither rows nor Django."""
