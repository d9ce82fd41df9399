"""Whatever is read or deleted, the answer is as documented; see `fuzzing`."""

from tests.api.cast import Caller
from tests.api.nouns.fuzzing import Fuzz, Ids


def test_no_read_or_deletion_is_answered_in_an_undocumented_way(
    root: Caller, everything: Ids
) -> None:
    fuzz = Fuzz(root, everything)
    fuzz.try_all({"GET", "DELETE"})
    assert fuzz.cases >= 5_000, fuzz.cases
