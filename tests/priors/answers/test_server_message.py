"""What a server says in place of an answer, and which proxy stands between."""

import pytest

from priors.answers.proxies import is_loopback, proxy_of, set_proxies
from priors.answers.server_message import message_of


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"error": "no images"}', "no images"),
        ('{"error": {"message": "bad", "type": "x", "code": null}}', "bad"),
        ('[{"error": {"message": "bad"}}]', "bad"),
        ('{"object": "error", "message": "too long", "code": 400}', "too long"),
        ('{"detail": "not here"}', "not here"),
        (
            '{"detail": [{"loc": ["body", "seed"], "msg": "extra"}, {"loc": ["body"], "msg": "odd"}]}',
            "body.seed: extra; body: odd",
        ),
        ('{"error": {"message": "Provider error", "metadata": {"raw": "no GPU left"}}}', "Provider error; no GPU left"),
        ('{"errors": ["a", "b"]}', "a; b"),
        ('{"code": 7}', '{"code": 7}'),
        ('{"error": "cut \\ud83d"}', "cut \ufffd"),
        ("<html><head><style>p{}</style></head><h1>413  Too\nLarge</h1></html>", "413 Too Large"),
        ("<html><head><title>502 Bad Gateway</title></head></html>", "502 Bad Gateway"),
        ("CUDA out\nof memory", "CUDA out of memory"),
        ("", ""),
        ("null", ""),
        ("\ufeff{}", "{}"),
    ],
)
def test_the_message_is_found(body, told):
    """In JSON of any shape, in pages and in plain text."""
    assert message_of(body.encode()) == told


def test_messages_are_short():
    """However much a server says, and however deep."""
    assert len(message_of(b"x" * 10**6)) == 300
    assert len(message_of(b"[" * 10**5)) == 300
    assert len(message_of(b"<script>" * 10**5)) <= 300
    assert message_of(b'{"error": ' * 500 + b'"deep"' + b"}" * 500)


def test_the_proxy_is_named(monkeypatch):
    """With its variable, without who uses it; not where it is passed by."""
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    assert proxy_of("http://model.example/v1") is None
    assert set_proxies() == ""
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy.example:3128")
    monkeypatch.setenv("all_proxy", "socks5://proxy.example")
    assert proxy_of("http://model.example/v1") == "http://proxy.example:3128 (http_proxy)"
    assert proxy_of("https://model.example/v1") == "socks5://proxy.example (all_proxy)"
    assert "secret" not in set_proxies()
    monkeypatch.setenv("no_proxy", "model.example")
    assert proxy_of("http://model.example/v1") is None
    assert proxy_of("http://127.0.0.1:8000/v1") is None


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "0.0.0.0"])
def test_this_machine_is_known(host):
    """By its names and addresses."""
    assert is_loopback(f"http://{host}:8000/v1")
    assert not is_loopback("http://10.0.0.1/v1")
    assert not is_loopback("http://localhost.example/v1")
