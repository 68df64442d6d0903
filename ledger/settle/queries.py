"""The named blocks of queries.sql."""

from redpacket.sql import read_queries

QUERIES = read_queries("ledger.settle")
