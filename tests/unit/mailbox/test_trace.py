"""Received lines of real servers, and of hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.mailbox.trace import Hop, read_hop


@pytest.mark.parametrize(
    ("received", "hop"),
    [
        (
            (
                "from smtp.isp.example (smtp.isp.example [192.0.2.25])\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 "
                "(256/256 bits)\t key-exchange X25519)\t(No client certificate requested)\tby mx.example.com (Postfix) with "
                "ESMTPS id 9D76821C99B\tfor <joe@example.com>; Mon, 23 Nov 2026 19:19:51 +0000 (UTC)"
            ),
            Hop("mx.example.com", "smtp.isp.example", "ESMTPS", True, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ),
        (
            (
                "from mail-ed1-x52f.google.com (mail-ed1-x52f.google.com. [2a00:1450:4864:20::52f])        by mx.google.com "
                "with ESMTPS id a1-2004si1 for <me@gmail.com>        (version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256 "
                "bits=128/128);        Mon, 23 Nov 2026 11:19:51 -0800 (PST)"
            ),
            Hop("mx.google.com", "mail-ed1-x52f.google.com", "ESMTPS", True, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        ),
        (
            "by 2002:a05:6402:1b0d:b0:5cf with SMTP id by13csp1; Mon, 23 Nov 2026 11:19:51 -0800 (PST)",
            Hop("2002:a05:6402:1b0d:b0:5cf", "", "SMTP", False),
        ),
        (
            (
                "from AM0PR02CA0001.eurprd02.prod.outlook.com (2603:10a6:208::14) by DB9PR02MB1234.eurprd02.prod.outlook.com "
                "(2603:10a6:10:1f::6) with Microsoft SMTP Server (version=TLS1_2, "
                "cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.8.1; Mon, 23 Nov 2026 19:19:51 +0000"
            ),
            Hop(
                "DB9PR02MB1234.eurprd02.prod.outlook.com",
                "AM0PR02CA0001.eurprd02.prod.outlook.com",
                "Microsoft",
                True,
                "TLSv1.2",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            ),
        ),
        (
            (
                "from [192.0.2.1] (helo=smtp.isp.example) by mx.example.com with esmtps  (TLS1.3) tls "
                "TLS_AES_256_GCM_SHA384 (Exim 4.96) (envelope-from <a@isp.example>) id 1tDXyz-0000abc-1A; Mon, 23 Nov 2026"
            ),
            Hop("mx.example.com", "[192.0.2.1]", "esmtps", True, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ),
        (
            "from a.example by b.example with UTF8SMTPSA id 1; now",
            Hop("b.example", "a.example", "UTF8SMTPSA", True),
        ),
        ("from a.example by b.example with ESMTPA id 1; now", Hop("b.example", "a.example", "ESMTPA", False)),
        ("from localhost by vm with LMTP id 1; now", Hop("vm", "localhost", "LMTP", None)),
        ("from localhost by vm with LMTPS id 1; now", Hop("vm", "localhost", "LMTPS", True)),
        ("(qmail 1234 invoked by uid 89); 23 Nov 2026", Hop("", "", "", None)),
        ('from "a (b" by c.example; now', Hop("c.example", '"a', "", None)),
        ("from a (((unclosed by b with ESMTPS", Hop("", "a", "", None)),
        ("", Hop("", "", "", None)),
    ],
)
def test_a_line_tells_who_took_it_from_whom_and_how(received: str, hop: Hop) -> None:
    assert read_hop(received) == hop


@pytest.mark.parametrize(
    ("hop", "told"),
    [
        (Hop("b", "a", "ESMTPS", True, "TLSv1.3", "AES"), "TLSv1.3, AES"),
        (Hop("b", "a", "ESMTPS", True), "TLS"),
        (Hop("b", "a", "ESMTP", False), "no TLS"),
        (Hop("b", "a", "LMTP", None), "not known whether TLS"),
    ],
)
def test_the_tls_of_a_hop_is_told_in_words(hop: Hop, told: str) -> None:
    assert hop.told_tls == told


@given(st.text(alphabet='()\\"; fromby with=TLS1_3cipher\t', max_size=200))
def test_no_line_is_a_crash(received: str) -> None:
    read_hop(received)
