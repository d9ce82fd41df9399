"""`cpm archive`: archived snapshots by the bucket alone, without server or database."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cpm.archive import keys, reader, repository
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.checks import NOTHING, Check, Checked, Portion
from cpm.archive.errors import ArchiveError, Damaged, NotFound
from cpm.archive.keys import Kms, Means, Passphrase
from cpm.archive.manifests import Manifest
from cpm.archive.repository import Repository
from cpm.archive.s3 import S3Store, region_of
from cpm.aws.credentials import InstanceRole
from cpm.aws.sessions import Cloud
from cpm.cli import asking
from cpm.cli.asking import UserOption, reasons
from cpm.cli.connection import connect, read_environment
from cpm.cli.terminal import (
    DataOption,
    JsonOption,
    complain,
    data_bar,
    fail,
    print_json,
    progress_bars,
    say,
    show,
    stderr,
)
from cpm.kernel import amounts
from cpm.kernel.faults import Fault

app = typer.Typer(
    help="Archived snapshots by their bucket alone: needs no server, and your own AWS credentials.",
    no_args_is_help=True,
)

RepositoryArgument = Annotated[str, typer.Argument(help="s3://bucket/prefix", show_default=False)]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="The file with the passphrase of an encrypted one."),
]
RegionOption = Annotated[
    str, typer.Option(envvar="AWS_REGION", help="A region from which S3 can be asked.")
]

_COLUMNS = ("name", "snapshot", "volume", "size_gib", "blocks", "created_at", "based_on")


@app.command("list")
def list_(
    address: RepositoryArgument,
    passphrase: PassphraseOption = None,
    region: RegionOption = "us-east-1",
    *,
    as_json: JsonOption = False,
) -> None:
    """List the copies in a repository."""
    damages: list[Damaged] = []
    with _opened(address, passphrase, region) as archive:
        rows = list(map(_row, _manifests(archive, damages.append)))
    show(rows, columns=_COLUMNS, as_json=as_json)
    for damage in damages:
        complain(f"Damaged: {damage}.")
    if damages:
        fail(f"{len(damages)} copies cannot be read.")


def _manifests(archive: Repository, lose: Callable[[Damaged], None]) -> Iterator[Manifest]:
    """All that can be read; the others are told to `lose`."""
    for name in archive.names():
        try:
            yield archive.manifest(name)
        except Damaged as damage:
            lose(damage)
        except NotFound:
            continue  # deleted meanwhile


def _row(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "snapshot": manifest.snapshot["id"],
        "volume": manifest.volume.get("id"),
        "size_gib": manifest.volume["size_gib"],
        "blocks": manifest.blocks,
        "created_at": manifest.created_at,
        "based_on": manifest.based_on,
    }


@app.command()
def restore(
    address: RepositoryArgument,
    snapshot: Annotated[str, typer.Argument(help="A snapshot (its newest copy), or a copy.")],
    to: Annotated[Path, typer.Option(help="The raw image to write; it must not be there.")],
    passphrase: PassphraseOption = None,
    region: RegionOption = "us-east-1",
) -> None:
    """Write a copy's volume as a raw image, every block verified.

    One that was interrupted goes on where it was. Exits 1 if something was damaged: it is named and
    stays zeros, and everything else is there.
    """
    with _opened(address, passphrase, region) as archive:
        manifest = archive.manifest(reader.newest(archive, snapshot))
        data_bytes = manifest.blocks * BLOCK_BYTES
        volume = f"{manifest.volume['size_gib']} GiB of {manifest.volume.get('id', 'a volume')}"
        say(f"{manifest.name}: {volume}, {amounts.size(data_bytes)} of it data.")
        _warn_of_space(to, data_bytes)
        with data_bar("restored", data_bytes) as moved:
            damages = _restored(archive, manifest, to, lambda blocks: moved(blocks * BLOCK_BYTES))
    for damage in damages:
        complain(f"Lost: {damage}.")
    if damages:
        fail(f"{to} is not whole: {len(damages)} of {manifest.blocks} blocks or pages are lost.")
    say(f"{to} is whole: {amounts.size(data_bytes)} of data, all verified.")


def _restored(
    archive: Repository, manifest: Manifest, to: Path, progress: Callable[[int], None]
) -> list[Damaged]:
    """What was damaged; what ends it before its time also says how it goes on."""
    try:
        return reader.restore(archive, manifest, to, progress=progress)
    except FileExistsError:
        fail(f"{to} is there already, and no restore of {manifest.name} that was interrupted.")
    except (ArchiveError, Fault, OSError, KeyboardInterrupt) as error:
        complain(str(error) or "Interrupted.")
        hint = "The same command goes on where it was." if to.exists() else "Nothing was written."
        fail(hint)


def _warn_of_space(to: Path, data_bytes: int) -> None:
    """Tell beforehand what would come out after hours; file systems that compress may do."""
    if not to.parent.is_dir():
        fail(f"There is no directory {to.parent}.")
    there = to.stat().st_blocks * 512 if to.is_file() else 0
    free = shutil.disk_usage(to.parent).free
    if data_bytes - there > free:
        complain(f"Only {amounts.size(free)} are free in {to.parent}.")


class _BareReadsAll(TyperCommand):
    """`--read-data` may stand without a value, which options of Typer may not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See Click."""
        told = ["--read-data=100%" if each == "--read-data" else each for each in args]
        return super().parse_args(ctx, told)


def _percent(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = 0
    if not 0 < percent <= 100:
        raise typer.BadParameter("it has to be a percentage, as in --read-data=5%")
    return percent


@app.command(cls=_BareReadsAll)
def check(
    address: RepositoryArgument,
    passphrase: PassphraseOption = None,
    region: RegionOption = "us-east-1",
    read_data: Annotated[
        float | None,
        typer.Option(
            parser=_percent,
            metavar="[=N%]",
            help="Read and verify the data, too: all of it, or so much of it, chosen by chance.",
        ),
    ] = None,
    *,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Bring back what was deleted, where the bucket has it still."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow every copy to its blocks, and verify data. Exits 1 if anything is damaged.

    In a bucket with versions, --repair takes delete markers away from what was deleted past the
    server: descriptions, keys, manifests and packs.
    """
    with _reached(address, region) as store, progress_bars(stderr) as bars:
        found = repository.unhide(store) if repair else 0
        archive = _open(store, passphrase)
        bar = bars.add_task("copies", total=sum(1 for _ in archive.names()))
        checking = Check(
            archive,
            read=_portion(read_data),
            repair=repair,
            progress=lambda so_far: bars.update(
                bar, completed=so_far.manifests, description=f"copies ({_read(so_far)})"
            ),
        )
        damages = []
        for damage in checking.run():
            damages.append(damage)
            complain(f"Damaged: {damage}.")
    done = checking.checked
    done.brought_back += found
    if as_json:
        print_json({**asdict(done), "damages": [_told(each) for each in damages]})
    say(f"{done.manifests} copies and {done.blocks} blocks followed; {_read(done)} and verified.")
    if repair:
        say(f"{done.brought_back} objects that were deleted are back.")
    if damages:
        fail(f"{len(damages)} damages.")


def _portion(percent: float | None) -> Portion:
    if percent is None:
        return NOTHING
    of = max(1, round(100 / percent))
    return Portion(secrets.randbelow(of), of)


def _read(checked: Checked) -> str:
    return f"{checked.packs} packs with {amounts.size(checked.read_bytes)} read"


def _told(damage: Damaged) -> dict[str, str]:
    return {"what": damage.what, "why": damage.why}


@app.command("add-key")
def add_key(
    address: RepositoryArgument,
    new_passphrase: Annotated[
        Path | None,
        typer.Option(
            "--new-passphrase-file", help="The file with a passphrase that is to open it."
        ),
    ] = None,
    new_kms_key: Annotated[
        str | None, typer.Option(help="A KMS key that is to open it: its ARN, id or alias.")
    ] = None,
    passphrase: PassphraseOption = None,
    region: RegionOption = "us-east-1",
) -> None:
    """Let one more secret open an encrypted repository, in case the others are lost."""
    if new_passphrase is None and new_kms_key is None:
        raise typer.BadParameter("--new-passphrase-file or --new-kms-key is needed")
    with _reached(address, region) as store:
        archive = _open(store, passphrase)
        if new_passphrase is not None:
            _add_key(archive, Passphrase(_secret_in(new_passphrase)))
        if new_kms_key is not None:
            _add_key(archive, Kms(store.aws, new_kms_key))


@app.command()
def rebuild(
    address: RepositoryArgument,
    *,
    account: Annotated[str, typer.Option(help="The account, on the server, of the bucket.")],
    name: Annotated[
        str | None, typer.Option(help="What the repository is to be called; else as its prefix.")
    ] = None,
    passphrase: PassphraseOption = None,
    kms_key: Annotated[str | None, typer.Option(help="The KMS key that opens it.")] = None,
    data: DataOption = None,
    user: UserOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record on the server all copies of a repository that it does not know, for a user.

    For a server that has lost its database. May be repeated. Exits 1 if anything is damaged.
    """
    bucket, prefix = _place(address)
    connect(data)
    from cpm.services import rebuilding

    secrets: dict[str, object] = {"kms_key": kms_key} if kms_key else {}
    if passphrase:
        secrets["passphrase"] = _secret_in(passphrase)
    actor = asking.person(user)
    place: dict[str, object] = {
        "name": name or prefix.rpartition("/")[2],
        "account": asking.account(account, actor).pk,
        "bucket_name": bucket,
        "prefix": prefix,
        **({"encryption": "C", **secrets} if secrets else {}),
    }
    with reasons(), _in_words(), stderr.status("Reading the copies") as status:
        rebuilt = rebuilding.rebuild(
            place,
            actor=actor,
            progress=lambda so_far: status.update(f"{so_far.copies + so_far.known} copies read"),
        )
    if as_json:
        print_json(asdict(rebuilt))
    say(
        f"{rebuilt.copies} copies recorded in {rebuilt.backups} new backups; "
        f"{rebuilt.known} were known."
    )
    for damage in rebuilt.damaged:
        complain(f"Damaged: {damage}.")
    if rebuilt.damaged:
        fail(f"{len(rebuilt.damaged)} copies cannot be read.")


def _add_key(archive: Repository, means: Means) -> None:
    name = keys.add(archive.store, archive.key, means, archive.id)
    say(f"{name} opens the repository too.")


@contextmanager
def _opened(address: str, passphrase: Path | None, region: str) -> Iterator[Repository]:
    """The repository; what is wrong with it ends the command in words."""
    with _reached(address, region) as store:
        yield _open(store, passphrase)


def _open(store: S3Store, passphrase: Path | None) -> Repository:
    secret = _secret_in(passphrase) if passphrase else None
    # Whichever key of KMS the repository names: it is the caller who trusts his own bucket.
    return repository.open_(store, passphrase=secret, kms=Kms(store.aws))


def _secret_in(path: Path) -> str:
    return path.read_text().rstrip("\n")


@contextmanager
def _reached(address: str, region: str) -> Iterator[S3Store]:
    """The bucket below the prefix; failures of whatever is done with it end the command."""
    bucket, prefix = _place(address)
    cloud = Cloud(endpoint_url=read_environment(None).aws_endpoint)
    try:
        with _in_words():
            aws = cloud.aws(InstanceRole(), region)
            yield S3Store(aws.at(region_of(aws, bucket)), bucket, prefix)
    finally:
        cloud.close()


@contextmanager
def _in_words() -> Iterator[None]:
    """What is wrong with an archive, or with AWS, ends the command in words."""
    try:
        yield
    except (ArchiveError, Fault, OSError) as error:
        fail(str(error))


def _place(address: str) -> tuple[str, str]:
    scheme, _, place = address.partition("://")
    bucket, _, prefix = place.strip("/").partition("/")
    if scheme != "s3" or not bucket:
        raise typer.BadParameter("it has to be s3://bucket/prefix", param_hint="ADDRESS")
    return bucket, prefix
