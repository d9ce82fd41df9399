"""Which classes of DB instances may be ordered, for any engine that moto knows."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from cpm.simulator import ec2_state
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.rds_listing import page

_FAMILIES = ("t3", "t4g", "m5", "m6g", "m6i", "m7g", "r5", "r6g", "r6i", "r7g")
_SIZES = ("micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge")
_SERVERLESS = "db.serverless"


def install(handlers: Handlers) -> None:
    """Take over the list of what may be ordered."""
    handlers.add("rds", {"DescribeOrderableDBInstanceOptions": describe_options})


def describe_options(call: Call) -> Mapping[str, Any]:
    """One option for each class that the engine runs on, narrowed to what is asked for."""
    engine, wanted = call.params["Engine"], call.get("DBInstanceClass")
    names = [name for name in _classes(engine) if wanted in (None, name)]
    shown, marker = page(call, names, str)
    zones = [
        {"Name": zone} for zone in ec2_state.zones(ec2_state.backend(call.account, call.region))
    ]
    options = [_option(call, engine, name, zones) for name in shown]
    return {"OrderableDBInstanceOptions": options, "Marker": marker}


def _classes(engine: str) -> Iterator[str]:
    for family, size in product(_FAMILIES, _SIZES):
        yield f"db.{family}.{size}"
    if engine.startswith("aurora"):
        yield _SERVERLESS


def _option(call: Call, engine: str, name: str, zones: list[dict[str, str]]) -> Mapping[str, Any]:
    return {
        "Engine": engine,
        "EngineVersion": call.get("EngineVersion", ""),
        "DBInstanceClass": name,
        "AvailabilityZones": zones,
        "MultiAZCapable": True,
        "Vpc": True,
    }
