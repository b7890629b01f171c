"""How much is taken on at once, learned from how model and sandbox bear it; whose turn is next."""

from cap_server.admission.admission import Admission
from cap_server.admission.cost import cost_of
from cap_server.admission.measured import MeasuredSandbox

__all__ = ["Admission", "MeasuredSandbox", "cost_of"]
