"""How good CoT sources and the CaP model are, estimated without labels from agreement."""

from cap_server.trust.estimates import NEWCOMERS, Estimates, Source, estimate
from cap_server.trust.ledger import Ledger
from cap_server.trust.posterior import posterior

__all__ = ["NEWCOMERS", "Estimates", "Ledger", "Source", "estimate", "posterior"]
