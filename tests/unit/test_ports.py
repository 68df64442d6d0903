"""Ports of the local stack, and how the address of what listens there is spelled."""

from redpacket.stack.ports import url_of


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert url_of("::1", 8000) == "http://[::1]:8000"
    assert url_of("127.0.0.1", 8000) == "http://127.0.0.1:8000"
