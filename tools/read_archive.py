#!/usr/bin/env python3
"""Restore a volume from a CPM archive without CPM: one file, written from the format alone.

    python read_archive.py s3://bucket/prefix snap-0123456789abcdef0 --to disk.img
    python read_archive.py /a/copy/of/the/prefix snap-0123456789abcdef0 --to disk.img

Needs Python 3.9 and zstandard; boto3 for S3 and KMS (with your usual credentials), and
cryptography for encrypted repositories, whose key KMS opens, or a passphrase
(`--passphrase-file`), or which is given itself (`--key-file`, 32 bytes).
Without `--to` it lists what there is. Every block is verified; damaged ones are named on stderr,
stay zeros, and make the exit status 1, as does whatever keeps it from reading at all. The format:
docs/design/archive-format.md.
"""

import argparse
import base64
import hashlib
import json
import os
import struct
import sys

import zstandard

BLOCK = 524_288
PAGE_BLOCKS = 4_096


class Damage(Exception):
    """Something is not what was written."""


class Directory:
    """A copy of the repository's prefix on this machine."""

    def __init__(self, path):
        self.path = path

    def read(self, name, offset=0, length=None):
        with open(os.path.join(self.path, *name.split("/")), "rb") as file:
            file.seek(offset)
            return file.read() if length is None else file.read(length)

    def names(self, prefix):
        folder = os.path.join(self.path, prefix)
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


class Bucket:
    """The repository's prefix in S3."""

    def __init__(self, address):
        import boto3

        self.bucket, _, self.prefix = address[len("s3://") :].strip("/").partition("/")
        self.client = boto3.client("s3")

    def read(self, name, offset=0, length=None):
        more = {} if length is None else {"Range": f"bytes={offset}-{offset + length - 1}"}
        key = self._key(name)
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key, **more)
        except self.client.exceptions.NoSuchKey:
            raise FileNotFoundError(f"there is no {key} in bucket {self.bucket}") from None
        return answer["Body"].read()

    def names(self, prefix):
        start = self._key(prefix) + "/"
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket, Prefix=start):
            for found in page.get("Contents", ()):
                yield found["Key"][len(start) :]

    def _key(self, name):
        return f"{self.prefix}/{name}" if self.prefix else name


class Repository:
    """An open repository."""

    def __init__(self, store, passphrase=None, key=None):
        self.store = store
        described = json.loads(store.read("repository.json"))
        if (described.get("format"), described.get("version")) != ("cpm-archive", 1):
            raise SystemExit("This is no archive of version 1.")
        if described["encryption"] not in (None, "AES-256-GCM"):
            raise SystemExit(f"Unknown encryption {described['encryption']}.")
        self.id = described["id"]
        self.key = None
        if described["encryption"]:
            self.key = key or self._unwrap(passphrase)

    def manifest(self, name):
        stored = self.store.read(f"manifests/{name}")
        if stored[:8] != b"CPMMANI1" or hashlib.sha256(stored[:-32]).digest() != stored[-32:]:
            raise Damage(f"manifest {name}")
        body = self._open(stored[24:-32], stored[8:24], b"cpm-archive manifest 1", 24)
        manifest = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(body))
        if (manifest["format"], manifest["version"]) != ("cpm-archive", 1):
            raise SystemExit(f"{name} is of another version.")
        return manifest

    def blocks(self, manifest, tell):
        """The blocks that are not zeros, with their numbers; `tell` is told of the damaged ones."""
        last = manifest["volume"]["size_gib"] * 2**30 // BLOCK
        for found in manifest["pages"]:
            try:
                page = self._blob(found, bytes.fromhex(found["pack"]), found["raw_length"])
                entries = list(_entries(page))
                if len(entries) != found["blocks"]:
                    raise Damage("it has another number of blocks")
            except Damage as damage:
                tell(f"page {found['page']}: {damage}")
                continue
            for index, pack, entry in entries:
                number = found["page"] * PAGE_BLOCKS + index
                try:
                    if number >= last:
                        raise Damage("it lies beyond the volume")
                    yield number, self._blob(entry, pack, BLOCK)
                except Damage as damage:
                    tell(f"block {number}: {damage}")

    def _blob(self, entry, pack, length):
        name = f"packs/{pack[:1].hex()}/{pack.hex()}"
        try:
            stored = self.store.read(name, entry["offset"], entry["length"])
        except Exception as error:
            raise Damage(f"{name}: {error}") from None
        content = self._open(stored, pack, b"cpm-archive pack 1", entry["offset"])
        if entry["encoding"] == 1:
            try:
                content = zstandard.ZstdDecompressor().decompress(content, max_output_size=length)
            except zstandard.ZstdError as error:
                raise Damage(f"{name}: {error}") from None
        if len(content) != length or hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise Damage(f"{name}: the SHA-256 differs")
        return content

    def _open(self, stored, salt, purpose, offset):
        if self.key is None:
            return stored
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        key = HKDF(algorithm=SHA256(), length=32, salt=salt, info=purpose).derive(self.key)
        try:
            return AESGCM(key).decrypt(bytes(4) + struct.pack(">Q", offset), stored, None)
        except InvalidTag:
            raise Damage("it does not open with the key") from None

    def _unwrap(self, passphrase):
        kept = [json.loads(self.store.read(f"keys/{name}")) for name in self.store.names("keys")]
        why = "The repository is encrypted: give --passphrase-file or --key-file."
        for each in kept:
            try:
                if each["wrapping"] == "kms":
                    return self._by_kms(each)
                if each["wrapping"] == "scrypt" and passphrase is not None:
                    return self._by_passphrase(each, passphrase)
            except Damage as reason:
                why = str(reason)
        raise SystemExit(why)

    def _by_passphrase(self, kept, passphrase):
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        stretched = hashlib.scrypt(
            passphrase.encode(),
            salt=base64.b64decode(kept["salt"]),
            n=kept["n"],
            r=kept["r"],
            p=kept["p"],
            maxmem=2**31 - 1,
            dklen=32,
        )
        nonce, wrapped = base64.b64decode(kept["nonce"]), base64.b64decode(kept["wrapped"])
        try:
            return AESGCM(stretched).decrypt(nonce, wrapped, self.id.encode())
        except InvalidTag:
            raise Damage("The passphrase does not open this repository.") from None

    def _by_kms(self, kept):
        import boto3

        key = kept["key_id"]
        try:
            return boto3.client("kms", region_name=key.split(":")[3]).decrypt(
                KeyId=key,
                CiphertextBlob=base64.b64decode(kept["wrapped"]),
                EncryptionContext={"cpm-repository": self.id},
            )["Plaintext"]
        except Exception as error:
            raise Damage(f"KMS does not open the repository: {error}") from None


def _entries(page):
    packs, count = struct.unpack_from(">II", page)
    ids = [page[8 + 16 * number : 24 + 16 * number] for number in range(packs)]
    begin, before = 8 + 16 * packs, -1
    if begin + 48 * count != len(page):
        raise Damage("its length does not fit")
    for index, pack, encoding, offset, length, digest in struct.iter_unpack(
        ">HHB3xII32s", page[begin:]
    ):
        if not before < index < PAGE_BLOCKS:
            raise Damage("its blocks are in disorder")
        before = index
        yield (
            index,
            ids[pack],
            {"encoding": encoding, "offset": offset, "length": length, "sha256": digest.hex()},
        )


def restore(repository, manifest, path, tell):
    """Write the raw image; zeros take no place where the file system can do without."""
    with open(path, "xb") as image:
        image.truncate(manifest["volume"]["size_gib"] * 2**30)
        for number, content in repository.blocks(manifest, tell):
            image.seek(number * BLOCK)
            image.write(content)


def main(arguments=None):
    """Do what the command line says; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", help="s3://bucket/prefix, or a directory")
    parser.add_argument("snapshot", nargs="?", help="a snapshot's id (its newest copy), or a copy")
    parser.add_argument("--to", metavar="FILE", help="the raw image to write")
    parser.add_argument("--passphrase-file", metavar="FILE")
    parser.add_argument("--key-file", metavar="FILE")
    given = parser.parse_args(arguments)
    store = Bucket(given.repository) if given.repository.startswith("s3://") else None
    passphrase = key = None
    if given.passphrase_file:
        with open(given.passphrase_file, encoding="utf-8") as file:
            passphrase = file.read().rstrip("\n")
    if given.key_file:
        with open(given.key_file, "rb") as file:
            key = file.read()
    repository = Repository(store or Directory(given.repository), passphrase, key)
    wanted = given.snapshot or ""
    names = [
        name
        for name in repository.store.names("manifests")
        if wanted in ("", name, name.rpartition("-")[0])
    ]
    if not names:
        print(f"There is no copy of {wanted or 'anything'}.", file=sys.stderr)
        return 1
    if not (wanted and given.to):
        print("\n".join(sorted(names)))
        return 0
    damages = []

    def tell(damage):
        damages.append(damage)
        print(damage, file=sys.stderr)

    restore(repository, repository.manifest(max(names)), given.to, tell)
    return 1 if damages else 0


def run(arguments=None):
    """`main`, with what is in its way as one line: a file, S3, KMS, credentials, a library."""
    try:
        return main(arguments)
    except (Damage, OSError, ImportError, ValueError, KeyError) as error:
        return told(error)
    except Exception as error:
        # boto3's are not known by name where it is not installed.
        if type(error).__module__.partition(".")[0] not in ("boto3", "botocore"):
            raise
        return told(error)


def told(error):
    """Say what is wrong on stderr; the exit status."""
    reason = " ".join(str(error).split())
    print(f"{type(error).__name__}: {reason}" if reason else type(error).__name__, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(run())
