"""Package lists and packages from the machine's own Debian archive, without root: a private apt state."""

import os
import pathlib
import shutil
import subprocess

# Read after the machine's own configuration, so that its sources, proxies and keys stay in force. Hooks are
# dropped: they look after the system's lists, not these.
CONFIGURATION = """\
Dir::State "{folder}/state";
Dir::State::lists "lists/";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "archives/";
#clear Acquire::Languages;
Acquire::Languages {{ "en"; "de"; }};
Acquire::GzipIndexes "false";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::IndexTargets::deb-src::Sources::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class FetchError(Exception):
    """What could not be had, and what to do about it."""


def require(program, package):
    if shutil.which(program) is None:
        raise FetchError(f"{program} is missing (Debian package {package}); this data set is made on Debian 12")


def run(command, log, **options):
    """Runs with output appended to the log; a failure quotes its end."""
    with open(log, "ab") as output:
        done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                              stderr=subprocess.STDOUT, env={**os.environ, "LC_ALL": "C"}, check=False, **options)
    if done.returncode != 0:
        raise FetchError(f"{pathlib.Path(command[0]).name} failed (exit {done.returncode}):\n{tail(log)}")


def tail(log, lines=8):
    text = pathlib.Path(log).read_text(encoding="utf-8", errors="replace")
    return "\n".join("  " + line for line in text.rstrip().split("\n")[-lines:]) + f"\n  (all of it: {log})"


class PrivateApt:
    """apt-get with lists and cache below `folder`."""

    def __init__(self, folder):
        require("apt-get", "apt")
        self.folder = pathlib.Path(folder).resolve()
        if '"' in str(self.folder):
            raise FetchError(f"{self.folder}: apt can't take a path with a quotation mark")
        self.log = self.folder / "apt.log"
        self.configuration = self.folder / "apt.conf"
        for name in ("state/lists/partial", "cache/archives/partial", "packages"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.configuration.write_text(CONFIGURATION.format(folder=self.folder), encoding="utf-8")

    def lists(self, suffix):
        return sorted((self.folder / "state" / "lists").glob("*" + suffix))

    def update(self):
        """Fetches the lists. apt-get says 0 even where nothing came: what counts is what is there."""
        self.log.write_bytes(b"")
        run(["apt-get", "-c", self.configuration, "-q", "update"], self.log)
        if not all(self.lists(suffix) for suffix in ("_Packages", "_Translation-en", "_Translation-de")):
            raise FetchError("not all package lists could be fetched; is the network up, and are there sources in "
                             f"/etc/apt?\n{tail(self.log)}")

    def unpack(self, packages, destination):
        """Downloads the packages and unpacks them, contents only, into one folder."""
        require("dpkg-deb", "dpkg")
        archives = self.folder / "packages"
        for stale in archives.glob("*.deb"):
            stale.unlink()
        run(["apt-get", "-c", self.configuration, "-q", "download", *packages], self.log, cwd=archives)
        for archive in sorted(archives.glob("*.deb")):
            run(["dpkg-deb", "-x", archive, destination], self.log)
