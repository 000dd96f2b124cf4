"""Personal data at ad platforms is hashed as the platforms' own code does: what Meta's Business SDK 26.0.3 makes of the
inputs of its test suite, and the normal forms that Google's and TikTok's documents name.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tradewind.advertising import Consent, Consents, ConversionEvent, EventName, Person
from tradewind.integrations.digest import decimal_of
from tradewind.integrations.ga4 import wire as ga4
from tradewind.integrations.meta import wire as meta
from tradewind.integrations.tiktok import wire as tiktok

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVENT = ConversionEvent(EventName.PURCHASE, "t.1", AT, "USD", 100, 100, order_id=1)


def told(**person: Any) -> ConversionEvent:
    return replace(EVENT, person=Person(**person))


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("field", "name", "given", "expected"),
    [
        ("em", "email", "a@b.c", "d648b243a3e817eaa3309e00e183483f2867baadf522099f0c2121770536b25a"),
        ("em", "email", "foo@bar.com", "0c7e6a405862e402eb76a70f8a26fc732d07c32931e9fae9ab1582911d2e8a3b"),
        ("em", "email", '"a b"@c.d', "127c0c15264d00ef3a1d1e15d123aa4de68fdc23501a88893547fbd54ec296fa"),
        ("em", "email", "fo'o@bar.com", "1cb24a520b5a25841d6d02937ff4a5c31553f3002f923e291179b4e6dd4cc559"),
        ("em", "email", "joe@eg.com", "8830eedd6c6b5ea97d181563a349476ca1bb25ace1f94b5c5e48d9cad727941b"),
        ("em", "email", "mary@test.com", "dc9fd7aeec76f0850acc1c9c20d8beca58056307082f798bf35f867341bcde86"),
        (
            "em",
            "email",
            "  John.Doe+promo@Example.COM ",
            "61355ba9fb44067b7d6a10e66925bbab40043ac739818f9f36c02bf178b80d30",
        ),
        ("em", "email", "A" * 64, "a" * 64),
        ("ph", "phone", "12345678912", "2f7e2ea57f3dbf40f00a3d92b149778831cd23f399b1dcdede5c495421b698c0"),
        ("ph", "phone", "12062072008", "b82999fbe6c6a1e3807a652afe03612d1d45dfc56a481435ab00ca772b6d881c"),
        (
            "ph",
            "phone",
            "+1 (650) 561-1111",
            "2bf3dcd9e4c7aa9165b8816ba354287c52329cd422bceaf75878c2db7b4e4e8f",
        ),
        (
            "ph",
            "phone",
            "001-650-561-1111",
            "2bf3dcd9e4c7aa9165b8816ba354287c52329cd422bceaf75878c2db7b4e4e8f",
        ),
        ("ph", "phone", "0650561111", "21ba670bd173066dfbf02cba0e09cd3419efb93f9a86f0498a6fd767766827ec"),
        (
            "ph",
            "phone",
            "+44 20 7946 0958",
            "35e206e5dec4c89b9e8b71b8c32724a5bb518483ac5a20c6617d738375b3b823",
        ),
        ("ln", "last_name", "smith", "6627835f988e2c5e50533d491163072d3f4f41f5c8b04630150debb3722ca2dd"),
        (
            "ln",
            "last_name",
            "O'Brien-Smith",
            "5349291f7c643970cc1b897c8ffb45a8b630e59c1fecc3d1e4dc8e292a7971a9",
        ),
        ("fn", "first_name", "joe", "78675cc176081372c43abab3ea9fb70c74381eb02dc6e93fb6d44d161da6eeb3"),
        ("fn", "first_name", " María ", "edd82ab3ecfe1ad7550fb74d2ae00211f13eb3bb9ef2d3030a16012854c7742a"),
        ("fn", "first_name", "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
        ("ct", "city", "seattle", "3151a8f227c0e11fd9a7fd1aa24ebfee734503dea095c22c3b2fae09d62eeb25"),
        ("ct", "city", "St. Louis", "8ba24bdf99947996f3000259be455de791b06fcc0e802ce05031030df1ee8ea3"),
        ("ct", "city", "New York", "350c754ba4d38897693aa077ef43072a859d23f613443133fecbbd90a3512ca5"),
        ("ct", "city", "München", "f75c175f552c8b2bf46ef4b282ee782c81cf8687f66a8fe8278cc56fa727503e"),
        ("st", "region", "ca", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
        ("st", "region", "C.A. 90210", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"),
        ("zp", "postal_code", "98001", "6a86295f630d0d5875fac8762a543c3d913fa139682f61d449aad6a3fe8c6303"),
        (
            "zp",
            "postal_code",
            "94035-1234",
            "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e",
        ),
        ("zp", "postal_code", "m1 1ae", "1dc694c2070e697769fb959b50671d76cafd430d8ca191fbdd0affcaea344ac5"),
        ("country", "country", "US", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ],
)
def test_meta_is_told_what_its_own_sdk_would_send(field: str, name: str, given: str, expected: str) -> None:
    assert meta.person_of(told(**{name: given})) == {field: [expected]}


@pytest.mark.parametrize(
    ("name", "given"),
    [("email", each) for each in ("a", "a@b", "@b.c", ".c", "@", "")]
    + [("country", "usa"), ("country", "United States"), ("phone", "")],
)
def test_what_metas_sdk_refuses_is_left_out(name: str, given: str) -> None:
    assert meta.person_of(told(**{name: given})) == {}


def test_meta_is_told_the_customers_id_as_it_is() -> None:
    assert meta.person_of(told(customer_id=77)) == {"external_id": ["77"]}


def test_tiktok_is_told_phones_with_their_plus_and_ids_hashed() -> None:
    event = told(email=" Ann@Example.com ", phone="+1 (650) 561-1111", customer_id=77)
    assert tiktok.person_of(event) == {
        "email": [sha256("ann@example.com")],
        "phone": [sha256("+16505611111")],
        "external_id": [sha256("77")],
    }


@pytest.mark.parametrize("phone", ["6505611111", "0650561111", ""])
def test_phone_without_its_country_is_told_neither_google_nor_tiktok(phone: str) -> None:
    event = told(phone=phone, customer_id=77)
    assert "phone" not in tiktok.person_of(event)
    assert "user_data" not in ga4.to_wire(event)


def test_google_is_told_gmail_addresses_without_dots() -> None:
    """The normal forms of Google's own page on user-provided data."""
    person = {
        "customer_id": 77,
        "email": " Jane.Doe@GMail.com",
        "phone": "+1-650-561-1111",
        "first_name": "J0hn!",
        "last_name": "O'Brien",
        "country": "us",
    }
    body = ga4.to_wire(told(**person))
    assert body["user_data"] == {
        "sha256_email_address": [sha256("janedoe@gmail.com")],
        "sha256_phone_number": [sha256("+16505611111")],
        "address": [
            {
                "sha256_first_name": sha256("jhn"),
                "sha256_last_name": sha256("obrien"),
                "country": "US",
            }
        ],
    }
    assert ga4.normal_email("Jane.Doe@example.com") == "jane.doe@example.com"


@pytest.mark.parametrize("consent", [Consent.DENIED, Consent.LIMITED])
def test_google_is_told_nobodys_data_without_their_consent(consent: Consent) -> None:
    body = ga4.to_wire(replace(told(customer_id=77, email="a@b.c"), consents=Consents(ads=consent)))
    assert body["consent"] == {"ad_user_data": "DENIED", "ad_personalization": "DENIED"}
    assert body.keys() & {"user_id", "user_data"} == set()


@pytest.mark.parametrize(
    ("cents", "currency", "number"),
    [
        (1999, "USD", "19.99"),
        (1200, "JPY", "1200"),
        (12345, "KWD", "12.345"),
        (10, "EUR", "0.1"),
        (10**14 + 1, "USD", "1000000000000.01"),
    ],
)
def test_money_is_told_in_the_currencys_own_decimals(cents: int, currency: str, number: str) -> None:
    assert repr(decimal_of(cents, currency)) == number


def test_cookie_of_google_gives_its_client_id() -> None:
    browser = replace(EVENT.browser, ga_client_id="GA1.1.1234567890.1700000000")
    assert ga4.client_id_of(replace(EVENT, browser=browser)) == "1234567890.1700000000"


def test_without_a_cookie_a_customer_keeps_one_client_id() -> None:
    first, second = (ga4.client_id_of(replace(told(customer_id=77), id=each)) for each in ("a", "b"))
    assert first == second
    assert first != ga4.client_id_of(told(customer_id=78))
