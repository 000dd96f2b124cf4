"""Files to a server of the tenant's own by SFTP. asyncssh comes with ``layers=("sftp",)``.

A file is written beside its place, under a name that its content alone has, and renamed when it is whole: an attempt
that breaks off is gone on with where it stopped, and no reader ever sees half a file or two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from tradewind.errors import CredentialsRejectedError, MisconfiguredError, ProviderUnavailableError
from tradewind.exporting import Destination, DestinationRefusedError, FileToBring
from tradewind.integrations.outward import Outward

if TYPE_CHECKING:
    import asyncssh

BLOCK, AT_ONCE = 32 * 1024, 32
STRETCH = BLOCK * AT_ONCE
"""Written in blocks side by side: what lies before the last stretch of a broken file is whole."""
LOGIN = timedelta(seconds=15)


def put_file(
    outward: Outward, destination: Destination, file: FileToBring, secrets: Mapping[str, str]
) -> None:
    """Bring a file into the destination's folder, over one of its name."""
    asyncio.run(_put(outward, destination, file, secrets))


async def _put(
    outward: Outward, destination: Destination, file: FileToBring, secrets: Mapping[str, str]
) -> None:
    import asyncssh  # noqa: PLC0415 - needs the layer

    host, port = destination.address["host"], int(destination.address.get("port", "22"))
    try:
        trusted = [asyncssh.import_public_key(secrets["host_key"])]
        own = [asyncssh.import_private_key(secrets["private_key"])] if "private_key" in secrets else []
    except asyncssh.KeyImportError as error:
        raise MisconfiguredError("host_key or private_key is no key in OpenSSH's format") from error
    try:
        async with (
            asyncssh.connect(
                host,
                port,
                sock=outward.connect(host, port),
                username=destination.address["username"],
                password=secrets.get("password"),
                client_keys=own or None,
                known_hosts=(trusted, [], []),
                config=None,
                agent_path=None,
                login_timeout=LOGIN.total_seconds(),
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            await _write(sftp, PurePosixPath(destination.address.get("folder") or "."), file)
    except asyncssh.HostKeyNotVerifiable as error:
        raise DestinationRefusedError(f"{host} shows another host key than the one that is stored") from error
    except asyncssh.PermissionDenied as error:
        raise CredentialsRejectedError(f"{host} refuses the login") from error
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPPermissionDenied) as error:
        raise DestinationRefusedError(f"{host} refuses the file: {type(error).__name__}") from error
    except (asyncssh.Error, OSError) as error:
        raise ProviderUnavailableError(host, f"no usable answer: {type(error).__name__}") from error


async def _write(sftp: asyncssh.SFTPClient, folder: PurePosixPath, file: FileToBring) -> None:
    import asyncssh  # noqa: PLC0415 - needs the layer

    unfinished = str(folder / f".{file.name}.{file.sha256[:16]}.part")
    try:
        there = (await sftp.stat(unfinished)).size or 0
    except asyncssh.SFTPNoSuchFile:
        there = 0
    begin = max(0, (min(there, file.size) - 1) // STRETCH) * STRETCH
    async with sftp.open(unfinished, "r+b" if there else "wb") as remote:
        with file.path.open("rb") as local:
            await _write_from(remote, local, begin)
    if (await sftp.stat(unfinished)).size != file.size:
        await sftp.remove(unfinished)
        raise ProviderUnavailableError("sftp", "the file that arrived has another size")
    try:
        await sftp.posix_rename(unfinished, str(folder / file.name))
    except asyncssh.SFTPOpUnsupported:
        if await sftp.exists(str(folder / file.name)):
            await sftp.remove(str(folder / file.name))
        await sftp.rename(unfinished, str(folder / file.name))


async def _write_from(remote: asyncssh.SFTPClientFile, local: BinaryIO, begin: int) -> None:
    local.seek(begin)
    at = begin
    while stretch := local.read(STRETCH):
        await asyncio.gather(
            *(
                remote.write(stretch[offset : offset + BLOCK], at + offset)
                for offset in range(0, len(stretch), BLOCK)
            )
        )
        at += len(stretch)
