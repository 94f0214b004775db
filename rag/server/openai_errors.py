"""Error responses in the shape of OpenAI's API.

For the routes under /v1 and for the authentication in front of them.
"""

from typing import Any

from pydantic import BaseModel


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    error: ErrorDetail


def error_body(
    status: int, message: str, code: str | None = None, *, param: str | None = None
) -> dict[str, Any]:
    """Return the JSON body of an error response.

    Args:
        status: The HTTP status, from which the error's `type` follows.
        message: What is wrong, for a person.
        code: What is wrong, for a program.
        param: The field of the request that is wrong, such as `messages[0].content`.
    """
    error_type = "rate_limit_error" if status == 429 else "invalid_request_error"
    if status >= 500:
        error_type = "server_error"
    detail = ErrorDetail(message=message, type=error_type, param=param, code=code)
    return ErrorResponse(error=detail).model_dump()
