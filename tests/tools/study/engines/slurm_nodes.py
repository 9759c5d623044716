"""Runs Debian's Slurm with this machine as its only node, without accounting."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import time

DAEMONS = ("munged", "slurmctld", "slurmd")
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=30
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Returns why Slurm cannot be started here; None if it can."""
    for daemon in DAEMONS:
        if shutil.which(daemon, path=_path()) is None:
            return f"needs {daemon}; on Debian: apt-get install slurm-wlm"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    return None


@contextlib.contextmanager
def running(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Runs Slurm; yields its configuration, for the variable SLURM_CONF.

    Args:
        folder: an empty folder with a short path, for a socket.
    """
    folder.chmod(0o711)
    (folder / "state").mkdir()
    (folder / "munge").mkdir(mode=0o755)
    (folder / "munge" / "key").write_bytes(secrets.token_bytes(128))
    (folder / "munge" / "key").chmod(0o400)
    host = socket.gethostname().split(".")[0]
    text = _CONFIGURATION.format(folder=folder, host=host, ports=_free_ports(2))
    configuration = folder / "slurm.conf"
    configuration.write_text(text)
    variables = {**os.environ, "SLURM_CONF": str(configuration), "PATH": _path()}
    daemons = [
        (
            *("munged", "--foreground", "--force"),
            *(f"--socket={folder}/munge/socket", f"--key-file={folder}/munge/key"),
            *(f"--log-file={folder}/munge/log", f"--pid-file={folder}/munge/pid"),
            f"--seed-file={folder}/munge/seed",
        ),
        ("slurmctld", "-D"),
        ("slurmd", "-D"),
    ]
    with contextlib.ExitStack() as stack:
        for command in daemons:
            process = subprocess.Popen(
                command,
                env=variables,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            time.sleep(0.5)
        end = time.monotonic() + 60
        sinfo = ["sinfo", "--noheader", "--format=%D %t"]
        while True:
            done = subprocess.run(
                sinfo, env=variables, capture_output=True, text=True, check=False
            )
            if done.stdout.split() == ["1", "idle"]:
                break
            assert time.monotonic() < end, done
            time.sleep(0.2)
        yield configuration


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
