"""What an outsider checks with loads neither a database's library nor a model's."""

import subprocess
import sys

import pytest

import govern.audit

HEAVY = ("sqlalchemy", "sqlmodel", "sqlite3", "psycopg", "torch", "transformers", "numpy")


@pytest.mark.parametrize(
    "module",
    [
        "govern.evidence.verify",
        "govern.audit",
        "govern.audit.proof",
        "govern.audit.quorum",
        "govern.audit.tiles",
        "govern.signing",
    ],
)
def test_a_check_loads_nothing_heavy(module):
    script = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_all_that_the_room_offers_is_there():
    for name in govern.audit.__all__:
        assert getattr(govern.audit, name).__name__ == name
    assert not hasattr(govern.audit, "nonsense")
