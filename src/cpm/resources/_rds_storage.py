"""The storage of a recovered DB instance: types, and which of them take numbers of IOPS."""

from cpm.resources.contract import Json, OptionRefused

STORAGE_TYPES = {
    "gp3": "General purpose SSD (gp3)",
    "gp2": "General purpose SSD (gp2)",
    "io1": "Provisioned IOPS SSD (io1)",
    "io2": "Provisioned IOPS SSD (io2)",
    "standard": "Magnetic (standard)",
}
_PROVISIONED = ("io1", "io2")
# What every gp3 volume has; AWS takes no numbers for those that are too small for more.
_GP3_IOPS, _GP3_THROUGHPUT = 3000, 125


def storage(storage_type: str | None, iops: int | None, original: Json) -> Json:
    """RDS's words for the storage: as the original's, unless asked otherwise.

    Raises OptionRefused.
    """
    wanted = storage_type or original["storage_type"]
    if wanted in _PROVISIONED:
        number = _provisioned(wanted, iops, original)
        # Only provisioned storage may have its log on a volume of its own.
        log_volume = original["log_volume"] or None
        return {"StorageType": wanted, "Iops": number, "DedicatedLogVolume": log_volume}
    if wanted == "gp3":
        return {"StorageType": wanted, **_gp3(iops, original)}
    if iops is not None:
        raise OptionRefused("iops", "invalid", f"{wanted} storage takes no IOPS")
    return {"StorageType": wanted}


def _provisioned(wanted: str, iops: int | None, original: Json) -> int:
    same_kind = original["storage_type"] in _PROVISIONED
    number: int | None = iops or (original["iops"] if same_kind else None)
    if number is None:
        raise OptionRefused("iops", "required", f"{wanted} storage needs a number of IOPS")
    return number


def _gp3(iops: int | None, original: Json) -> Json:
    if original["storage_type"] != "gp3":
        return {"Iops": iops}
    throughput = original["throughput"] or 0
    number = iops or original["iops"] or 0
    return {
        "Iops": number if number > _GP3_IOPS else iops,
        "StorageThroughput": throughput if throughput > _GP3_THROUGHPUT else None,
    }
