"""Who may do what in the local stack's Postgres: a superuser, and the role of all processes, which is none."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from redpacket.stack.files import write_whole
from redpacket.stack.sockets import POSTGRES_PORT

DATABASE = "redpacket"
SUPERUSER = "redpacket"  # who made the cluster, in all versions
WORKER = "redpacket_worker"
# What asyncpg would else take from the PG... variables of whoever runs a command.
_SAID = "sslmode=disable&sslnegotiation=postgres&target_session_attrs=any"

# For a server in single-user mode: a statement a line. What earlier versions made belongs to the superuser.
_GRANT = """
ALTER ROLE {superuser} PASSWORD '{superuser_password}'
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{worker}') THEN CREATE ROLE {worker}; END IF; END $$
ALTER ROLE {worker} LOGIN NOSUPERUSER PASSWORD '{worker_password}'
ALTER DATABASE {database} OWNER TO {worker}
DO $$ DECLARE it record; BEGIN \
FOR it IN SELECT oid::regclass AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN \
('r', 'p', 'v', 'm') LOOP EXECUTE format('ALTER TABLE %s OWNER TO {worker}', it.name); END LOOP; \
FOR it IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
LOOP EXECUTE format('ALTER ROUTINE %s OWNER TO {worker}', it.name); END LOOP; END $$
"""


def password(folder: Path, role: str) -> str | None:
    """Of a role of the cluster in `folder`; None where it was made by a version that had none. Raises OSError."""
    try:
        return (folder / f"{role}.password").read_text()
    except FileNotFoundError:
        return None


def new_passwords() -> dict[str, str]:
    """By role."""
    return {role: secrets.token_hex(32) for role in (SUPERUSER, WORKER)}


def grant_statements(passwords: Mapping[str, str]) -> bytes:
    """What makes the roles, with these passwords, and hands the database to the lesser one; safe to run again."""
    return _GRANT.format(
        superuser=SUPERUSER,
        superuser_password=passwords[SUPERUSER],
        worker=WORKER,
        worker_password=passwords[WORKER],
        database=DATABASE,
    ).encode()


def keep_passwords(folder: Path, passwords: Mapping[str, str]) -> None:
    """Raises OSError."""
    for role, secret in passwords.items():
        write_whole(folder / f"{role}.password", secret.encode())


def role_url(folder: Path, sockets: Path, role: str) -> str:
    """Raises OSError."""
    host = quote(str(sockets), safe="")
    return f"postgresql://{role}:{password(folder, role)}@{host}:{POSTGRES_PORT}/{DATABASE}?{_SAID}"
