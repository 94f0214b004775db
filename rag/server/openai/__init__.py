"""OpenAI's chat completions API under `/v1`: the schemas of requests and responses, and the routes.

Answering is the service's task; this package only translates. The errors' shape is in openai_errors, as
the authentication needs it too.
"""
