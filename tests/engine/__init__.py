"""What the engine promises, shown on a real database and the emulated AWS."""
