"""What looks at scores takes what extract takes: that of the finished pipeline."""

from __future__ import annotations

from typing import Any

from tests.flows.conftest import Finished


def policy(finished: Finished, **changes: Any) -> dict[str, Any]:
    common = {"workspace": finished.workspace.location, "corpus": "music"}
    return {**finished.parameters.extract.model_dump(), **common, **changes}
