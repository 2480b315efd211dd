"""pyarrow.compute makes its functions when it is imported, so no type checker can see them."""

from typing import Any

def __getattr__(name: str) -> Any: ...
