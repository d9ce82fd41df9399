"""For those who test the product or add to it: the suite that says what a driver is."""
