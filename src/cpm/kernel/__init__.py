"""Rules without I/O: times, schedules, retention, names, faults. Imports nothing of the product."""
