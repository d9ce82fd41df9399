"""Targets on the wire: an address for each resource type, made from what its driver declares."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from msgspec import UNSET, Struct, UnsetType, defstruct

from cpm.api import answers, pages
from cpm.api.bound import bound, struct_name
from cpm.api.flags import VALIDATE, flag
from cpm.api.lists import Listing, by_text, region
from cpm.api.operations import Operation, View
from cpm.api.request import Request
from cpm.api.shapes import Row, Shape, Shown
from cpm.queries import policies, targets
from cpm.resources import registry
from cpm.resources.contract import Driver
from cpm.resources.options import OptionSpec, OptionType, specs
from cpm.services import targets as service
from cpm.services.access import Action
from cpm.services.targets import VOLUME_FIELDS, fields_of


class Target(Shown, kw_only=True):
    """An AWS resource that a policy protects."""

    id: int
    policy: int
    resource_id: str
    region: str
    name: str | None
    status: Literal["exists", "missing"]
    added_by: Literal["user", "tag"]


class TargetVolume(Shown):
    """A volume that a target names, to be included in its backups or left out of them."""

    id: int
    volume_id: str
    device: str | None
    size_gib: int | None


_COLUMNS = (
    *("id", "policy", "resource_id", "region", "name", "is_missing", "added_by_tag"),
    *("kind", "options"),
)
_KIND, _OPTIONS = _COLUMNS.index("kind"), _COLUMNS.index("options")
_HINTS: dict[OptionType, Any] = {
    OptionType.BOOLEAN: bool,
    OptionType.INTEGER: int,
    OptionType.STRING: str,
    OptionType.STRINGS: list[str],
    OptionType.OBJECTS: list[dict[str, Any]],
    OptionType.MAPPING: dict[str, str],
}

VOLUMES = Listing(
    Shape(TargetVolume, ("id", "volume_id", "device", "size_gib"), TargetVolume),
    ordering={"volume_id": by_text("volume_id")},
)


def listing_of(driver: Driver) -> Listing[Any]:
    """What targets of one type look like: their options stand beside what all have."""
    options = specs(driver.target_options)
    struct = _struct(
        driver.kind, f"A policy's {driver.label}.", [(s.name, _hint(s)) for s in options]
    )

    def build(*row: Any) -> Struct:
        return struct(**_common(row), **_options(options, row))

    return _listing(struct, build)


def listing_of_all() -> Listing[Any]:
    """What targets of all types look like together; options of other types are left out."""
    drivers = {driver.kind: driver for driver in registry.drivers()}
    options = {kind: specs(driver.target_options) for kind, driver in drivers.items()}
    names = dict.fromkeys(spec.name for of_kind in options.values() for spec in of_kind)
    struct = _struct(
        "any",
        "An AWS resource of any type that a policy protects.",
        [("target_type", str), *((name, Any | UnsetType, UNSET) for name in names)],
    )

    def build(*row: Any) -> Struct:
        kind = row[_KIND]
        target_type = drivers[kind].target_collection
        return struct(**_common(row), target_type=target_type, **_options(options[kind], row))

    return _listing(struct, build)


def _listing(struct: type[Struct], build: Callable[..., Struct]) -> Listing[Any]:
    return Listing(
        Shape(struct, _COLUMNS, build),
        filters={"region": region("region")},
        search=("resource_id", "name"),
        ordering={"resource_id": by_text("resource_id"), "region": by_text("region")},
    )


def _struct(kind: str, doc: str, keys: Sequence[Any]) -> type[Struct]:
    """A struct of the common keys and some more, under a name that no other type's can take."""
    name = struct_name(kind, "Target")
    return defstruct(name, keys, bases=(Target,), kw_only=True, namespace={"__doc__": doc})


def _hint(spec: OptionSpec) -> Any:
    hint = _HINTS[spec.type]
    return hint | None if spec.is_nullable else hint


def _common(row: Row) -> dict[str, Any]:
    common = dict(zip(_COLUMNS, row, strict=True))
    del common["kind"], common["options"]
    common["status"] = "missing" if common.pop("is_missing") else "exists"
    common["added_by"] = "tag" if common.pop("added_by_tag") else "user"
    return common


def _options(options: Sequence[OptionSpec], row: Row) -> dict[str, Any]:
    """The options as they were chosen; what was never chosen is as the type has it."""
    chosen = row[_OPTIONS]
    return {spec.name: chosen.get(spec.name, spec.default) for spec in options}


def index_all(request: Request, policy_id: int, *, listing: Listing[Any]) -> HttpResponseBase:
    """List what a policy protects, of all types."""
    request.must_see(request.rows(policies.visible_to), policy_id)
    return pages.answer(request, request.rows(targets.of_policy, policy_id), listing)


def index(
    request: Request, policy_id: int, *, driver: Driver, listing: Listing[Any]
) -> HttpResponseBase:
    """List the targets of one type."""
    request.must_see(request.rows(policies.visible_to), policy_id)
    return pages.answer(request, request.rows(targets.of_type, policy_id, driver), listing)


def add(request: Request, policy_id: int, *, driver: Driver, listing: Listing[Any]) -> HttpResponse:
    """Let a policy protect one more resource; AWS is asked whether it exists."""
    request.must_see(request.rows(policies.visible_to), policy_id)
    target = service.add(
        policy_id,
        driver,
        request.body(fields_of(driver)),
        actor=request.person,
        validate=flag(request, "validate", default=True),
    )
    rows = request.rows(targets.of_type, policy_id, driver)
    return answers.one(request, rows, target.pk, listing.shape, status=201)


def show(
    request: Request, policy_id: int, target_id: int, *, driver: Driver, listing: Listing[Any]
) -> HttpResponse:
    """Retrieve a target."""
    rows = request.rows(targets.of_type, policy_id, driver)
    return answers.one(request, rows, target_id, listing.shape)


def update(
    request: Request, policy_id: int, target_id: int, *, driver: Driver, listing: Listing[Any]
) -> HttpResponse:
    """Update the options of a target; what is left out stays as it is."""
    rows, shape = request.rows(targets.of_type, policy_id, driver), listing.shape
    request.must_see(rows, target_id)
    data = request.body(fields_of(driver))
    validate = flag(request, "validate", default=True)
    with answers.unchanged(request, rows, target_id, shape):
        service.update(policy_id, driver, target_id, data, actor=request.person, validate=validate)
    return answers.one(request, rows, target_id, shape)


def remove(
    request: Request, policy_id: int, target_id: int, *, driver: Driver, listing: Listing[Any]
) -> HttpResponse:
    """Take a resource out of a policy; its snapshots stay."""
    rows = request.rows(targets.of_type, policy_id, driver)
    with answers.unchanged(request, rows, target_id, listing.shape):
        service.remove(policy_id, driver, target_id, actor=request.person)
    return answers.nothing()


def index_volumes(
    request: Request, policy_id: int, target_id: int, *, driver: Driver
) -> HttpResponseBase:
    """List the volumes that a target names."""
    request.must_see(request.rows(targets.of_type, policy_id, driver), target_id)
    rows = request.rows(targets.volumes, policy_id, driver, target_id)
    return pages.answer(request, rows, VOLUMES)


def name_volume(
    request: Request, policy_id: int, target_id: int, *, driver: Driver
) -> HttpResponse:
    """Name a volume of a target; AWS is asked whether it is one."""
    request.must_see(request.rows(targets.of_type, policy_id, driver), target_id)
    volume = service.name_volume(
        policy_id,
        driver,
        target_id,
        request.body(VOLUME_FIELDS),
        actor=request.person,
        validate=flag(request, "validate", default=True),
    )
    rows = request.rows(targets.volumes, policy_id, driver, target_id)
    return answers.one(request, rows, volume.pk, VOLUMES.shape, status=201)


def show_volume(
    request: Request, policy_id: int, target_id: int, volume_id: int, *, driver: Driver
) -> HttpResponse:
    """Retrieve a volume that a target names."""
    rows = request.rows(targets.volumes, policy_id, driver, target_id)
    return answers.one(request, rows, volume_id, VOLUMES.shape)


def forget_volume(
    request: Request, policy_id: int, target_id: int, volume_id: int, *, driver: Driver
) -> HttpResponse:
    """Name a volume no longer."""
    rows = request.rows(targets.volumes, policy_id, driver, target_id)
    with answers.unchanged(request, rows, volume_id, VOLUMES.shape):
        service.forget_volume(policy_id, driver, target_id, volume_id, actor=request.person)
    return answers.nothing()


_READ, _WRITE = Action.READ, Action.CHANGE_BACKUPS


def operations() -> Iterator[Operation]:
    """The operations on targets of every type that there is a driver for."""
    listing = listing_of_all()
    view = bound(index_all, listing=listing)
    yield Operation("GET", "/policies/{policy_id}/targets/", view, _READ, listing=listing)
    for driver in registry.drivers():
        yield from _of_type(driver)
        if driver.target_is_changeable:
            yield from _of_volumes(driver)


def _of_type(driver: Driver) -> Iterator[Operation]:
    many = f"/policies/{{policy_id}}/targets/{driver.target_collection}/"
    one, listing = f"{many}{{id}}/", listing_of(driver)
    shown = listing.shape.struct
    written: Any = {"body": fields_of(driver), "answer": shown}

    def view(function: View) -> View:
        return bound(function, driver=driver, listing=listing)

    yield Operation("GET", many, view(index), _READ, listing=listing)
    yield Operation("POST", many, view(add), _WRITE, status=201, **written, parameters=VALIDATE)
    yield Operation("GET", one, view(show), _READ, answer=shown)
    if driver.target_is_changeable:
        yield Operation("PUT", one, view(update), _WRITE, **written, parameters=VALIDATE)
    yield Operation("DELETE", one, view(remove), _WRITE, status=204)


def _of_volumes(driver: Driver) -> Iterator[Operation]:
    many = f"/policies/{{policy_id}}/targets/{driver.target_collection}/{{target_id}}/volumes/"
    one = f"{many}{{id}}/"
    written: Any = {"body": VOLUME_FIELDS, "answer": TargetVolume, "parameters": VALIDATE}

    def view(function: View) -> View:
        return bound(function, driver=driver)

    yield Operation("GET", many, view(index_volumes), _READ, listing=VOLUMES)
    yield Operation("POST", many, view(name_volume), _WRITE, status=201, **written)
    yield Operation("GET", one, view(show_volume), _READ, answer=TargetVolume)
    yield Operation("DELETE", one, view(forget_volume), _WRITE, status=204)
