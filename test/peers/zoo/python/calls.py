"""Python's HTTP clients: calls.py requests|httpx|httpx-h2c|aiohttp HOST PORT COUNT prints each answer on a line."""

import asyncio
import sys

library, host, port, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def url(call):
    return f"http://{host}:{port}/call/{call}"


def with_requests():
    import requests

    with requests.Session() as session:
        for call in range(count):
            answer = session.post(url(call), data=f"body {call}")
            print(answer.status_code, answer.raw.version, answer.text)


def with_httpx(http2):
    import httpx

    with httpx.Client(http1=not http2, http2=http2) as client:
        for call in range(count):
            answer = client.post(url(call), content=f"body {call}")
            print(answer.status_code, answer.http_version, answer.text)


async def with_aiohttp():
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for call in range(count):
            async with session.post(url(call), data=f"body {call}") as answer:
                print(answer.status, answer.version, await answer.text())


if library == "requests":
    with_requests()
elif library == "aiohttp":
    asyncio.run(with_aiohttp())
else:
    with_httpx(library == "httpx-h2c")
