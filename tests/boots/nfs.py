"""An NFS server in a lab's box: NFS-Ganesha, which needs nothing of the kernel, and rpcbind, which tells its ports."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from deploy.lab.errors import LabError
from deploy.lab.packages import unpack_packages
from deploy.lab.process import start, stop

# With the libraries of theirs that not every Debian has; what these need every Debian with a Python has.
PACKAGES = (
    *("nfs-ganesha", "nfs-ganesha-vfs", "libntirpc4.3", "liburcu8", "libnfsidmap1", "libwbclient0", "libdbus-1-3"),
    *("rpcbind", "libwrap0", "libtirpc3", "libbsd0", "libmd0"),
)
# Both want files below /run, where they must not meet this machine's own, and rpcbind a user of its own; when the first
# of them ends, so does all of it.
ISOLATED = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec"]
COMMANDS = """\
mount -t tmpfs tmpfs /run
{ cat /etc/passwd; echo _rpc:x:65534:65534::/run/rpcbind:/usr/sbin/nologin; } > /run/passwd
mount --bind /run/passwd /etc/passwd
export LD_LIBRARY_PATH=$1
"$2/sbin/rpcbind"
exec "$2/usr/bin/ganesha.nfsd" -F -L STDOUT -f "$3" -p /run/ganesha.pid
"""
READY = b"NFS SERVER INITIALIZED"
READY_SECONDS = 120.0  # on a machine busy with other things

Access = Literal["RO", "RW"]

GENERAL = """\
NFS_CORE_PARAM {{ Protocols = 3; Plugins_Dir = {plugins}; Enable_NLM = false; Enable_RQUOTA = false; }}
NFSv4 {{ UseGetpwnam = true; }}
LOG {{ Default_Log_Level = EVENT; }}
"""
EXPORT = """\
EXPORT {{ Export_Id = {number}; Path = {path}; Pseudo = /{number}; Access_Type = {access}; Squash = No_Root_Squash;
  Protocols = 3; Transports = TCP; SecType = sys; FSAL {{ Name = VFS; }} }}
"""


@asynccontextmanager
async def serve_nfs(folder: Path, namespace: str, exports: Mapping[Path, Access]) -> AsyncIterator[None]:
    """Serve folders by their paths, version 3; programs and configuration are put into `folder`.

    Raises: LabError when the programs can't be had, or end at once.
    """
    rows = enumerate(exports.items(), 1)
    text = "".join(EXPORT.format(number=number, path=path, access=access) for number, (path, access) in rows)
    config = folder / "ganesha.conf"
    programs = folder / "nfs"
    await asyncio.to_thread(unpack_packages, programs, *PACKAGES)
    [plugins] = programs.glob("usr/lib/*/ganesha")
    config.write_text(GENERAL.format(plugins=plugins) + text)
    places = (plugins.parent, programs / "usr/lib/ganesha", programs / "lib" / plugins.parent.name)
    libraries = ":".join(map(str, places))
    command = [*ISOLATED, COMMANDS, "sh", libraries, str(programs), str(config)]
    process = await start(command, namespace=namespace, stdout=PIPE, stderr=STDOUT)
    try:
        await _ready(process)
        yield
    finally:
        await stop(process)


async def _ready(process: Process) -> None:
    assert process.stdout is not None
    said = [b"it said nothing"]
    async with asyncio.timeout(READY_SECONDS):
        async for line in process.stdout:
            said.append(line)
            if READY in line:
                return
    raise LabError(f"nfs-ganesha ended: {b''.join(said[-8:]).decode(errors='replace').strip()}")
