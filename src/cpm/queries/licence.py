"""What the licence allows; without one, everything."""

from dataclasses import dataclass

from cpm.models.settings import Setting

SECTION = "license"


@dataclass(frozen=True, slots=True)
class Licence:
    """Caps for the whole server (None is none), and whether accounts may work across each other."""

    max_accounts: int | None = None
    max_users: int | None = None
    cross_account: bool = True


def current(*, lock: bool = False) -> Licence:
    """The licence in force; `lock` keeps others from counting against it until the commit."""
    rows = Setting.objects.filter(section=SECTION)
    row = (rows.select_for_update() if lock else rows).first()
    return Licence(**row.value) if row else Licence()
