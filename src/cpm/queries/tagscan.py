"""Reads of scans of tags."""

from collections.abc import Collection

from cpm.models.tagscan import TagScan
from cpm.queries.errors import NotFound
from cpm.queries.people import Person


def progress(viewer: Person, scan_ids: Collection[int]) -> int:
    """How far the scans are, in percent of all of them; raises `NotFound` for others than root."""
    if not viewer.acts_for_root:
        raise NotFound
    waiting = TagScan.objects.filter(pk__in=scan_ids).exclude(due_at=None).count()
    return 100 if not waiting else 100 * (len(scan_ids) - waiting) // len(scan_ids)
