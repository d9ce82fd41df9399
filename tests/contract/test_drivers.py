"""Every resource type keeps the promises of a driver."""

from cpm.testing.driver_suite import DriverSuite
from cpm.testing.inventory_suite import InventorySuite
from cpm.testing.permission_suite import PermissionSuite


class TestDrivers(DriverSuite):
    """The suite, for each driver of the registry."""


class TestInventories(InventorySuite):
    """What each of them says of its copies in AWS."""


class TestPermissions(PermissionSuite):
    """What each of them is allowed to do."""
