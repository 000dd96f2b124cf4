"""Requests are signed as botocore signs them, and as AWS's published examples are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tradewind.aws.signing import Keys, sign

AT = datetime(2026, 11, 20, 12, 0, 9, tzinfo=UTC)
HEADER_NAMES = ("content-type", "x-amz-target", "X-Amz-Meta-Note", "Range", "content-md5")


class Oracle(SigV4Auth):
    """botocore's signer at an instant of the caller's choice."""

    def signature_of(self, request: AWSRequest, at: datetime) -> str:
        request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)  # type: ignore[attr-defined]  # not in the stubs
        to_sign = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(  # type: ignore[attr-defined]  # the same
            request, self.signature(to_sign, request)
        )
        return str(request.headers["Authorization"])


class S3Oracle(S3SigV4Auth, Oracle):
    """The same with S3's rules for the path and the body's hash."""


def signature_by_botocore(
    keys: Keys, service: str, method: str, host: str, path: str, headers: dict[str, str], body: bytes
) -> str:
    kind: Any = S3Oracle if service == "s3" else Oracle
    signer = kind(Credentials(keys.access, keys.secret, keys.token), service, "eu-west-1")
    request = AWSRequest(method=method, url=f"https://{host}{path}", headers=headers, data=body)
    return str(signer.signature_of(request, AT))


visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
segment = st.text(min_size=1, max_size=12).filter(lambda text: text not in {".", ".."})
path_of = st.lists(segment.map(lambda text: quote(text, safe="")), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)

query_of = st.dictionaries(visible, st.text(max_size=12), max_size=3).map(
    lambda given: "&".join(
        f"{quote(name, safe='')}={quote(given[name], safe='')}"
        for name in sorted(given, key=lambda name: quote(name, safe=""))
    )
)


@given(
    service=st.sampled_from(["sqs", "kms", "s3", "states", "secretsmanager"]),
    method=st.sampled_from(["GET", "PUT", "POST"]),
    path=path_of,
    headers=st.dictionaries(
        st.sampled_from(HEADER_NAMES), st.lists(visible, min_size=1, max_size=3).map("  ".join), max_size=4
    ),
    body=st.binary(max_size=300),
    keys=st.builds(Keys, visible, visible, st.none() | visible),
    query=query_of,
)
def test_signature_is_botocores(
    service: str, method: str, path: str, headers: dict[str, str], body: bytes, keys: Keys, query: str
) -> None:
    host = f"{service}.eu-west-1.amazonaws.com"
    signed = sign(
        method=method,
        host=host,
        path=path,
        headers=headers,
        body=body,
        service=service,
        region="eu-west-1",
        keys=keys,
        at=AT,
        query=query,
    )
    asked = f"{path}?{query}" if query else path
    expected = signature_by_botocore(keys, service, method, host, asked, dict(headers), body)
    assert signed["authorization"] == expected
    assert signed.get("x-amz-security-token") == keys.token
    assert ("x-amz-content-sha256" in signed) == (service == "s3")


EXAMPLE_KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
S3_EXAMPLE_KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_published_vanilla_requests(method: str, signature: str) -> None:
    """get-vanilla and post-vanilla of AWS's Signature Version 4 test suite."""
    signed = sign(
        method=method,
        host="example.amazonaws.com",
        path="/",
        headers={},
        body=b"",
        service="service",
        region="us-east-1",
        keys=EXAMPLE_KEYS,
        at=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert signed == {
        "host": "example.amazonaws.com",
        "x-amz-date": "20150830T123600Z",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}",
    }


def test_published_s3_request() -> None:
    """GET Object of Amazon S3's "Authenticating Requests: Using the Authorization Header"."""
    signed = sign(
        method="GET",
        host="examplebucket.s3.amazonaws.com",
        path="/test.txt",
        headers={"Range": "bytes=0-9"},
        body=b"",
        service="s3",
        region="us-east-1",
        keys=S3_EXAMPLE_KEYS,
        at=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert signed["authorization"].endswith(
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
