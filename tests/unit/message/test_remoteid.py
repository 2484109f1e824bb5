"""The server's own name for a message, from what it says at the end."""

from __future__ import annotations

import pytest

from ucrmmail.message.remoteid import remote_queue_id


@pytest.mark.parametrize(
    ("reply", "queue_id"),
    [
        ("250 2.0.0 Ok: queued as 4XyZ12abcDz1", "4XyZ12abcDz1"),
        ("250 2.0.0 queued as 00001", "00001"),
        ("250 2.0.0 Ok: 5217 bytes queued as 4XyZ12abcDz1", "4XyZ12abcDz1"),
        (
            "250 2.0.0 OK  1732363159 5b1f17b1804b1-43498d9f0a2sm13894155e9.0 - gsmtp",
            "5b1f17b1804b1-43498d9f0a2sm13894155e9.0",
        ),
        (
            "250 2.0.0 OK <k3x9qa@isp.example> [Hostname=DB9PR02MB1234.eurprd02.prod.outlook.com]",
            "",
        ),
        (
            (
                "250 2.6.0 <k3x9qa@isp.example> [InternalId=8976241234567, Hostname=DB9PR02MB1234.eurprd02.prod.outlook.com] "
                "8532 bytes in 0.123, 67.6 KB/sec Queued mail for delivery"
            ),
            "8976241234567",
        ),
        ("250 OK id=1tDXyz-0000000abc-1A2b", "1tDXyz-0000000abc-1A2b"),
        ("250 2.0.0 4ANBx5xy012345 Message accepted for delivery", "4ANBx5xy012345"),
        ("250 2.0.0 5a0e7c31 Message accepted for delivery", "5a0e7c31"),
        ("250 ok 1732363159 qp 12345", "1732363159 qp 12345"),
        ("250 Ok 0102019358a5b6c7-1a2b3c4d-000000", "0102019358a5b6c7-1a2b3c4d-000000"),
        ("250 Ok: queued as Xk3_9-QaSomeThing", "Xk3_9-QaSomeThing"),
        ("250 2.0.0 Message Queued (6F1C2A3B.1)", "6F1C2A3B.1"),
        ("250 2.0.0 Message queued with id 1f2e3d.", "1f2e3d."),
        (
            "250 Mail OK queued as smtp8,DMCowACHOslvk6hWF1u7AA--.51185S2 1453888371",
            "smtp8,DMCowACHOslvk6hWF1u7AA--.51185S2",
        ),
        ("250 OK: queued as 4XyZ12abcDz1, thank you", "4XyZ12abcDz1"),
        (
            "250 2.0.0 Ok: queued on mxfront9q.mail.yandex.net as 1590262878-g7S0CPwaoz-fIVS8Xqq",
            "1590262878-g7S0CPwaoz-fIVS8Xqq",
        ),
        ("250 Great success", ""),
        ("250 2.0.0 Ok", ""),
        ("250", ""),
        ("550 5.7.1 queued as nothing", ""),
        ("", ""),
    ],
)
def test_the_queue_id_is_found_where_servers_write_it(reply: str, queue_id: str) -> None:
    assert remote_queue_id(reply) == queue_id
