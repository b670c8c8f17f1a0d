"""Where runs live: folders, locks and atomic writes. All writes of a run are confined to its workspace."""

from govern.workspace.atomic import write_atomic, writing
from govern.workspace.folders import RunFolder, Workspace

__all__ = ["RunFolder", "Workspace", "write_atomic", "writing"]
