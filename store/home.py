"""The home folder: where everything of a user lives, its paths and permissions.
Nothing here opens the database."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from store.errors import BadInput, NoSpace
from store.files import check_inside

_NETWORK_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "fuse.sshfs", "fuse.s3fs", "lustre", "ceph"}
)
_LOW_SPACE = 1 << 30
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errno values that mean a full disk, quota or file limit."""


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder. Holding one says nothing about it existing: `ensure` makes it."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "store.db"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def probes(self) -> Path:
        """The user's own probe sets, one file each. Made with the first of them."""
        return self.root / "probes"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def run_dir(self, uid: str) -> Path:
        """The folder of one run, named by its uid: a rename of the run moves nothing."""
        return self.runs / uid

    def ensure(self) -> Home:
        """Makes the home and its folders, readable by their owner alone.

        BadInput where that cannot be; NoSpace on a full disk.
        """
        for folder in (self.root, self.runs, self.models, self.exports, self.logs, self.cache):
            if not folder.is_dir():
                _make_private(folder)
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise BadInput("The home folder cannot be written.", where=str(self.root), todo=_ELSEWHERE)
        return self

    def export_folder(self, name: str) -> Path:
        """The folder `name` under exports. Conflict when a link on the way leads out of the exports folder."""
        folder = self.exports / name
        check_inside(folder, self.exports)
        return folder

    def relative(self, path: Path | str) -> str:
        """`path` as the store keeps it: relative when it is inside the home, so that a moved home still works."""
        full = Path(path).absolute()
        return full.relative_to(self.root).as_posix() if full.is_relative_to(self.root) else str(full)

    def absolute(self, path: str) -> Path:
        """What `relative` gave, as a full path again."""
        return self.root / path


_ELSEWHERE = "Choose another folder with --home DIR or TUNINGFORK_HOME."


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise BadInput("This is a file, not a folder.", where=str(folder), todo=_ELSEWHERE) from None
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoSpace(
                "There is no space to create the home folder.", where=str(folder), todo="Free some space. " + _ELSEWHERE
            ) from error
        raise BadInput(
            f"The home folder cannot be created ({error.strerror}).", where=str(folder), todo=_ELSEWHERE
        ) from error


def find_home(explicit: Path | str | None = None) -> Home:
    """The home to use: `explicit`, else TUNINGFORK_HOME, else the platform's user-data folder. Makes nothing."""
    chosen = explicit or os.environ.get("TUNINGFORK_HOME")
    if not chosen:
        from platformdirs import user_data_path

        chosen = user_data_path("tuningfork", appauthor=False)
    return Home(Path(chosen).expanduser().absolute())


def warnings(home: Home) -> list[str]:
    """Sentences about what may go wrong here: a network file system, little space, a folder that others can read."""
    found = []
    system = _file_system(home.root)
    if system in _NETWORK_SYSTEMS:
        found.append(f"{home.root} is on a network file system ({system}); SQLite needs a local disk. {_ELSEWHERE}")
    if home.root.exists():
        free = shutil.disk_usage(home.root).free
        if free < _LOW_SPACE:
            found.append(f"only {free / 1e6:.0f} MB are free under {home.root}; a run needs about 1 GB.")
        if os.name == "posix" and home.root.stat().st_mode & 0o077:
            found.append(f"other users can read {home.root}; close it with: chmod 700 {home.root}")
    return found


def _file_system(path: Path) -> str:
    """The type of the file system that holds `path`, or '' where the system does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for fields in (line.split() for line in mounts):
        point = fields[1].replace("\\040", " ")
        if len(point) >= len(best) and path.resolve().is_relative_to(point):
            best, kind = point, fields[2]
    return kind
