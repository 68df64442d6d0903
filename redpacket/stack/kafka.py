"""Kafka (KRaft, broker and controller in one) as a child process on 127.0.0.1, for who knows a password."""

import asyncio
import base64
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError

from redpacket.log.connect import as_user
from redpacket.stack.error import StackError
from redpacket.stack.files import make_folder, write_whole
from redpacket.stack.jars import jars_folder
from redpacket.stack.java import java_command
from redpacket.stack.kafka_settings import CONTROLLER, USER, kafka_settings
from redpacket.stack.logs import Log
from redpacket.stack.ports import HOST, serves
from redpacket.stack.program import NotAnsweringError, Program, python, run_once
from redpacket.stack.scram import tell_password
from redpacket.stack.server import Say, child_environ, plain_environ

FETCH_TIMEOUT_S = 300.0
FORMAT_TIMEOUT_S = 60.0
CALL_TIMEOUT_MS = 2_000
MARK = "meta.properties"


@dataclass(frozen=True)
class Kafka:
    folder: Path
    port: int
    controller_port: int
    # New at each start: the broker is told of its own, and the controller has it in its settings.
    password: str = field(default_factory=lambda: token_hex(32), repr=False)
    controller_password: str = field(default_factory=lambda: token_hex(32), repr=False)
    heap: str = "512m"
    name: str = "kafka"
    _told: set[int] = field(default_factory=set, repr=False)  # the processes that know it

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    async def prepare(self, log: Log, say: Say) -> None:
        if not str(self.folder).isascii() or set(str(self.folder)) & set(",\\"):
            raise StackError(f"Kafka cannot keep its data in {self.folder}: only ASCII, no comma and no backslash")
        jars = jars_folder()
        if not jars.exists():
            say("kafka: fetching the jars (first start only)")
            fetch = python("redpacket.stack.jars", str(jars))
            await run_once(fetch, plain_environ(), log, timeout_s=FETCH_TIMEOUT_S)

        async def make(folder: Path) -> None:
            settings = self._write_settings(folder)
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--standalone", "-c", str(settings)]
            await run_once([*self._java(), *tool], child_environ(), log, timeout_s=FORMAT_TIMEOUT_S)

        await make_folder(self.folder, MARK, make)
        self._write_settings(self.folder)

    def program(self) -> Program:
        return Program(
            name=self.name,
            argv=[*self._java(), "kafka.Kafka", str(self._settings_file)],
            environ=child_environ(),
            answers=self.answers,
            port=self.port,
            stop_s=3.0,  # what is not closed by then is recovered at the next start
        )

    async def answers(self, pid: int) -> None:
        """Metadata with a broker in it, and of this folder's cluster: another's Kafka may have the port."""
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.bootstrap, request_timeout_ms=CALL_TIMEOUT_MS, **as_user(USER, self.password)
        )
        try:
            await self._be_let_in(pid)
            await admin.start()
            cluster = await admin.describe_cluster()
        except (OSError, KafkaError) as error:
            raise NotAnsweringError(f"no answer to a metadata request: {error}") from error
        finally:
            await admin.close()
        if f"cluster.id={cluster['cluster_id']}" not in (self.folder / MARK).read_text().splitlines():
            raise NotAnsweringError(f"port {self.port} is served by the Kafka cluster {cluster['cluster_id']}")
        if not cluster["brokers"]:
            raise NotAnsweringError("the broker is not yet known to its controller")

    async def _be_let_in(self, pid: int) -> None:
        """Raises OSError and KafkaError; NotAnsweringError where it will not be long."""
        if pid not in self._told:
            _, writer = await asyncio.open_connection(HOST, self.controller_port)
            writer.close()
            # What the controller is told is told in the clear.
            if not serves(self.controller_port):
                raise NotAnsweringError(f"port {self.controller_port} is served by another user")
            controller = (CONTROLLER, self.controller_password)
            await tell_password(self.controller_port, controller, (USER, self.password), CALL_TIMEOUT_MS)
            self._told.add(pid)
        try:
            connection = await create_conn(
                HOST, self.port, request_timeout_ms=CALL_TIMEOUT_MS, **as_user(USER, self.password)
            )
        except ValueError as error:  # it does not show that it knows the password
            raise NotAnsweringError(f"port {self.port} is served by somebody else: {error}") from error
        connection.close()

    @property
    def _settings_file(self) -> Path:
        return self.folder.with_name("kafka.properties")

    def _write_settings(self, folder: Path) -> Path:
        text = kafka_settings(self.port, self.controller_port, folder, self.password, self.controller_password)
        write_whole(self._settings_file, text.encode())
        return self._settings_file

    def _java(self) -> list[str]:
        options = [
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        ]
        return java_command(self.heap, self.folder.parent / "logs", f"{jars_folder()}/*", options)
