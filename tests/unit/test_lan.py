"""How phones come in: by the right address, a certificate made once, and a link in a code."""

from __future__ import annotations

import stat
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import ifaddr
import numpy as np
import pytest
from cryptography import x509

from streamer.cli.override import override
from streamer.config import Config
from streamer.errors import ConfigError
from streamer.http import certificate, lan
from streamer.http.certificate import fingerprint, own_certificate
from streamer.http.lan import lan_addresses
from streamer.http.qr import QUIET, qr_code, qr_text

from ..codes import read_code

HOME, OFFICE = "192.168.1.5", "10.9.0.2"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes what the system says of its interfaces; the first address is that by which others are reached."""

    def of(*interfaces: tuple[str, str]) -> None:
        adapters = [SimpleNamespace(nice_name=name, ips=[SimpleNamespace(ip=ip, is_IPv4=True)]) for name, ip in interfaces]
        monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
        monkeypatch.setattr(lan, "_of_default_route", lambda: interfaces[0][1] if interfaces else "")

    return of


def test_the_address_is_one_that_a_phone_reaches(network: Any) -> None:
    network(("tun0", OFFICE), ("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), ("eth0", "169.254.1.1"), ("wlan0", HOME))
    assert next(iter(lan_addresses().items())) == (HOME, "wlan0"), "not the tunnel's, though others are reached by it"
    assert set(lan_addresses()) == {HOME, OFFICE, "172.17.0.1"}
    network(("eth1", OFFICE), ("wlan0", HOME))
    assert list(lan_addresses()) == [OFFICE, HOME], "that by which others are reached"
    network(("Hyper-V Virtual Ethernet Adapter", "172.20.0.1"), ("Intel(R) Wi-Fi 6", HOME))
    assert next(iter(lan_addresses())) == HOME
    network()
    assert not lan_addresses()


def test_the_certificate_is_made_once(tmp_path: Any) -> None:
    files = own_certificate([HOME], tmp_path)
    made = fingerprint(files[0])
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert fingerprint(own_certificate([HOME], tmp_path)[0]) == made, "a phone asks once"
    own_certificate([OFFICE], tmp_path)
    both = fingerprint(files[0])
    assert both != made
    own_certificate([HOME], tmp_path)
    assert fingerprint(files[0]) == both, "and it holds in both networks from now on"
    found = x509.load_pem_x509_certificate(files[0].read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(each) for each in names.get_values_for_type(x509.IPAddress)} == {HOME, OFFICE}


@pytest.mark.parametrize("spoil", ["certificate.pem", "key.pem", "soon over"])
def test_a_certificate_that_cannot_be_used_is_made_anew(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, spoil: str) -> None:
    with monkeypatch.context() as patch:
        if spoil == "soon over":
            patch.setattr(certificate, "LASTS", certificate.LEFT - timedelta(days=1))
        files = own_certificate([HOME], tmp_path)
    made = fingerprint(files[0])
    if spoil != "soon over":
        (tmp_path / spoil).write_text("text")
    own_certificate([HOME], tmp_path)
    assert fingerprint(files[0]) != made


def test_a_certificate_that_cannot_be_kept_is_told(tmp_path: Any) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--lan: a certificate cannot be kept in .*; give one of your own with http\.tls_cert"):
        own_certificate([HOME], tmp_path / "file")


def test_a_code_is_read_as_what_was_written() -> None:
    for text in (
        "https://a.b",
        f"https://{HOME}:8080/?stream=live#token=link.control.live.1795703727.kq-3Ve_2mZpY0hTtLw9xRbNcUaJ1sDfG",
    ):
        assert read_code(qr_code(text)) == text
        rows = [[" ▀▄█".index(sign) for sign in line] for line in qr_text(text).splitlines()]
        whole = np.array([[[pair % 2, pair // 2] for pair in row] for row in rows]).transpose(0, 2, 1).reshape(-1, len(rows[0]))
        side = len(qr_code(text))
        assert (whole[QUIET : QUIET + side, QUIET : QUIET + side] == qr_code(text)).all(), "in a terminal too"
        assert whole.sum() == qr_code(text).sum()


def test_lan_listens_everywhere_by_https(network: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network(("wlan0", HOME))
    monkeypatch.setattr(certificate, "own_folder", lambda: tmp_path)

    def told(host: str | None = None, **http: Any) -> Any:
        return override(Config(http=http), host, None, None, None, None, None, None, None, lan=True).http  # type: ignore[arg-type]

    assert (told().host, told().tls_certificate, told().tls_key) == (
        "0.0.0.0",
        tmp_path / "certificate.pem",
        tmp_path / "key.pem",
    )
    assert told(host=None).host == "0.0.0.0"
    assert told(HOME).host == HOME
    own = told(tls_certificate="own.pem", tls_key="own.key")
    assert str(own.tls_certificate) == "own.pem"
    with pytest.raises(ConfigError, match=r"--host and --lan: no phone reaches 127\.0\.0\.1"):
        told("127.0.0.1")
