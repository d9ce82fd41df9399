"""What worker machines run: of this server's own installation, what the mover of data needs."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import cpm

# Installed packages, with all that they need themselves.
DISTRIBUTIONS = (
    *("botocore", "cffi", "cryptography", "jmespath", "msgspec", "pycparser"),
    *("python-dateutil", "six", "structlog", "urllib3", "zstandard"),
)
# Of the product.
PACKAGES = ("kernel", "aws", "archive", "machine")
# The SDK's descriptions of all services are large; these are called.
_SERVICES = ("ebs", "s3")
_DATA = "botocore/data/"
_ITSELF = "cpm-server"


def bundle() -> bytes:
    """A gzipped tar file, to be unpacked into a folder that Python looks for modules in."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as tar,
    ):
        for name, path in _files():
            tar.add(path, name, recursive=False, filter=_anonymous)
        _add_own_metadata(tar)
    return packed.getvalue()


def _files() -> Iterator[tuple[str, Path]]:
    """Names in the bundle, and the files."""
    for name in DISTRIBUTIONS:
        yield from _installed(distribution(name))
    root = Path(cpm.__file__).parent
    yield "cpm/__init__.py", root / "__init__.py"
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            yield f"cpm/{path.relative_to(root).as_posix()}", path


def _installed(package: Distribution) -> Iterator[tuple[str, Path]]:
    for file in sorted(package.files or (), key=str):
        name = file.as_posix()
        if not name.startswith("..") and not name.endswith(".pyc") and _is_needed(name):
            yield name, Path(str(file.locate()))


def _is_needed(name: str) -> bool:
    """Of the SDK's data, what is not of one service, and what is of those that are called."""
    service, is_of_one, _ = name.removeprefix(_DATA).partition("/")
    return not name.startswith(_DATA) or not is_of_one or service in _SERVICES


def _add_own_metadata(tar: tarfile.TarFile) -> None:
    """The product asks what version it is, however it was installed here."""
    content = (distribution(_ITSELF).read_text("METADATA") or "").encode()
    version = distribution(_ITSELF).version
    info = tarfile.TarInfo(f"cpm_server-{version}.dist-info/METADATA")
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing of who has installed it here, and when."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info
