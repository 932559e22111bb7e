"""Parameters of strategies (docs/strategies.md): of the key's user, by the strategy's name."""

from __future__ import annotations

from blueprints.api_v1.endpoint import Call, Routes
from blueprints.api_v1.schemas import StrategyParameters, StrategyQuery
from blueprints.http import Body

routes = Routes("Strategies")


@routes.get("/strategyparameters", StrategyQuery)
def parameters(call: Call[StrategyQuery]) -> Body:
    """The parameters of one strategy; an empty object where none was set."""
    found = call.gateway.strategies.parameters(call.principal, call.body.strategy)
    return {"data": found, "status": "success"}


@routes.post("/strategyparameters", StrategyParameters, scope="trade")
def change(call: Call[StrategyParameters]) -> Body:
    """Set some parameters and remove others, all or none; tells what there is then."""
    found = call.gateway.strategies.change(
        call.principal, call.body.strategy, call.body.parameters, call.body.remove
    )
    return {"data": found, "status": "success"}
