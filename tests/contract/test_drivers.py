"""Every resource type keeps the promises of a driver."""

from cpm.testing.driver_suite import DriverSuite


class TestDrivers(DriverSuite):
    """The suite, for each driver of the registry."""
