"""What worker machines are given to run."""

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from cpm.server import software

# What an installation has, and a machine that holds nobody's secrets need not.
_NOT_THERE = ("cpm/engine", "cpm/models", "cpm/services", "cpm/config", "django", "moto")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, as a machine has it."""
    folder = tmp_path_factory.mktemp("software")
    with tarfile.open(fileobj=BytesIO(software.bundle()), mode="r:gz") as tar:
        tar.extractall(folder, filter="data")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python as it is on a machine: nothing installed, and this on its path."""
    real = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    return subprocess.run(
        [str(real), "-S", "-P", *arguments],
        env={"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_starts_with_the_bundle_alone(unpacked: Path) -> None:
    asked = run(unpacked, "-m", "cpm.machine", "--help")
    assert asked.returncode == 0, asked.stderr
    assert "--token-file" in asked.stdout


def test_a_machine_has_all_that_a_copy_calls(unpacked: Path) -> None:
    program = (
        "from cpm.aws.sessions import Cloud; from cpm.aws.credentials import StaticKeys;"
        "aws = Cloud(endpoint_url='http://127.0.0.1:9').aws(StaticKeys('a', 'b'), 'eu-west-1');"
        "print([aws.cloud.client(aws.region, each, is_read=True).meta.service_model"
        ".service_id for each in ('ebs', 's3')])"
    )
    made = run(unpacked, "-c", program)
    assert made.stdout.strip() == "['EBS', 'S3']", made.stderr


def test_nothing_but_the_mover_is_in_the_bundle(unpacked: Path) -> None:
    assert not [name for name in _NOT_THERE if (unpacked / name).exists()]
    assert not list(unpacked.rglob("*.pem")) or [
        path.parent.name for path in unpacked.rglob("*.pem")
    ] == ["botocore"]
