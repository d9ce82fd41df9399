"""Who may do what: every operation, asked by everybody, of what is there and of what is not."""

from typing import Any

from cpm.api.operations import Operation
from cpm.api.routes import OPERATIONS
from cpm.models.users import UserKind
from tests.api.cast import Answer, Caller, caller, make_user
from tests.api.matrix import SWITCHES, Need, line_of, lines, need_of
from tests.api.nouns.everything import address, taken_back
from tests.api.nouns.organisation import Member, Organisation

NOWHERE = 999_999_999
SERVED = "served"
ALL = "+".join(sorted(SWITCHES))
ASKED = [each for each in OPERATIONS if each.action is not None]


def test_the_matrix_has_a_line_for_every_operation() -> None:
    assert {line_of(each) for each in OPERATIONS} == set(lines())


def test_a_token_is_needed_for_everything_but_to_get_one_and_to_read_about_it() -> None:
    without = [line_of(each) for each in OPERATIONS if each.action is None]
    assert without == [line_of(each) for each in OPERATIONS if need_of(each) is Need.TOKEN]


def send(who: Caller, operation: Operation, ids: dict[str, int]) -> Answer:
    """Have an operation done to the objects of these ids; what it does is taken back."""
    with taken_back():
        headers = {"accept": operation.produces[0]}
        return who.send(operation.method, address(operation, ids), {}, headers=headers)


def outcome(answer: Answer) -> str | tuple[int, dict[str, list[str]]]:
    """Whether somebody was let through, and if not, what he was told."""
    if answer.status in {200, 201, 204, 400, 409}:
        return SERVED
    return answer.status, answer.codes


def expected(who: Member, operation: Operation, owner: str) -> object:
    """What the contract has him told about an object of this owner."""
    need = need_of(operation)
    if not who.may(need):
        return 403, {"non_field_errors": ["permission_denied"]}
    if "{" in operation.path and not sees(who, operation, owner):
        return 404, {"non_field_errors": ["not_found"]}
    return SERVED


def sees(who: Member, operation: Operation, owner: str) -> bool:
    """Root also reads and writes independent users, though not what they have."""
    is_everybodys = operation.path.startswith(("/users/", "/settings/"))
    return owner in who.sees or (is_everybodys and who.kind == "R")


def test_everybody_is_told_what_the_matrix_says(organisation: Organisation) -> None:
    for who in organisation.members.values():
        assert mistold(organisation, who, "mia") == {}


def test_the_objects_of_independent_users_are_for_them_alone(organisation: Organisation) -> None:
    for name in ("root", "mia", "ines", f"root+{ALL}", f"ines+{ALL}", "ines+nothing"):
        assert mistold(organisation, organisation.members[name], "ines") == {}


def mistold(organisation: Organisation, who: Member, owner: str) -> dict[object, object]:
    """What somebody is told of an owner's objects that is not what the matrix says."""
    ids = organisation.ids[owner]
    told = [(each, outcome(send(who.caller, each, ids))) for each in ASKED]
    return {
        (who.name, *line_of(each)): (got, expected(who, each, owner))
        for each, got in told
        if got != expected(who, each, owner)
    }


def test_what_one_may_never_do_is_refused_whether_or_not_the_object_is_there(
    organisation: Organisation,
) -> None:
    nowhere = dict.fromkeys(organisation.ids["mia"], NOWHERE)
    for name in ("root", "mia", "root+nothing", "mia+nothing"):
        who = organisation.members[name]
        for each in ASKED:
            if "{" in each.path:
                told = outcome(send(who.caller, each, nowhere))
                codes = ["not_found" if who.may(need_of(each)) else "permission_denied"]
                wanted = (404 if who.may(need_of(each)) else 403, {"non_field_errors": codes})
                assert told == wanted, (who.name, each)


def test_whoever_may_read_is_shown_it(organisation: Organisation) -> None:
    for owner, ids in organisation.ids.items():
        for each in ASKED:
            if each.method == "GET" and not each.path.startswith(("/settings/", "/system/")):
                assert send(organisation.caller(owner), each, ids).status == 200, (owner, each)


def test_nobody_may_do_what_needs_a_token(organisation: Organisation) -> None:
    for each in ASKED:
        told = outcome(send(Caller(), each, organisation.ids["mia"]))
        assert told == (401, {"non_field_errors": ["not_authenticated"]}), each


def test_accounts_are_changed_by_those_whose_owner_may(db: None) -> None:
    owner = make_user("owner", UserKind.MANAGED, allow_account_changes=False)
    all_switches: dict[str, Any] = dict.fromkeys(SWITCHES, True)
    delegate = make_user("delegate", UserKind.DELEGATE, original_user=owner, **all_switches)
    for person in (owner, delegate):
        assert caller(person).post("/accounts/backup/", {}).status == 403
        assert caller(person).put("/accounts/backup/999999999/", {}).status == 403
        assert caller(person).delete("/accounts/backup/999999999/").status == 404
        assert caller(person).get("/accounts/").status == 200
