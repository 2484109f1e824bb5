"""What a refusal says of our own side: of our name, our address, our login or our account, in whatever words.

Servers word it freely, so here are expressions where ``refusals`` has texts; that has the rows, and the sources too.
They are looked for in what the smarthost says itself: what a far server says of the smarthost is not about us. And they
do not hold what is said of a recipient ("the account that you tried to reach is disabled") or of the content.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ucrmmail.message.words import is_of_others, words_of

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply

_ADDRESS = r"(\d{1,3}(\.\d{1,3}){3}|\[(ipv6:)?[0-9a-f:.]+\])"
_STOPPED = (
    r"(suspended|disabled|deactivated|locked|blocked|banned|restricted|terminated|frozen|paused|on hold|"
    r"not (yet )?activated)"
)
_BLOCKED = (
    r"(block\w*|black[ -]?list\w*|listed|banned|denied|reject\w*|refus\w*|forbidden|reputation|abusive|spam\w*|"
    r"not (currently |be )?accept\w*)"
)

HELO = (
    r"\bhelo command (\[[^\]]*\] )?(rejected|blocked)\b"
    r"|\b(invalid|bad|bogus|forged|fake|illegal|malformed|unqualified|wrong) (helo|ehlo)\b"
    r"|\b(helo|ehlo)\b.{0,40}\b(rejected|denied|invalid|bogus|refused|forged|mismatch\w*|listed|blacklisted|blocked|"
    r"does not (resolve|exist|match)|should be|must be|is an ip|not accept\w*|not allowed|fqdn|fully[ -]qualified|"
    r"impersonating)\b"
    r"|\b(host ?name|domain name)\b.{0,30}\b(helo|ehlo)\b"
)

# A link in the message, or the domain of an address, stands on lists too.
_NOT_OF_THE_ADDRESS = (
    r"^(?!.*(\b(sender|recipient|from|e-?mail) address\b|\b(contain\w*|with) .{0,20}\b(url|uri|link)|\burl in\b|"
    r"\bdomain (present|is|was|has)\b|\bdbl\b|\b[us]uri?bl\b|\bsurbl\b)).*"
)
BLOCK_LIST = _NOT_OF_THE_ADDRESS + (
    r"(\bclient( host)?\b.{0,80}\bblocked\b(?! from sending)"
    rf"|\b(your|sending|source|sender'?s?|originating|this|the|server) (mail ?server'?s? |host'?s? )?ips?"
    rf"( address(es)?)?\b.{{0,60}}\b{_BLOCKED}\b"
    r"|\bips?( address(es)?)?\b.{0,40}\b(blocked|black[ -]?listed|banned|listed)\b"
    rf"|{_ADDRESS}[\])]? (is |was |has been )?(currently |temporarily |permanently )?"
    r"(blocked|black[ -]?listed|listed|banned)\b"
    rf"|\b(accept|accepted|deferred|deliver\w*) ([\w-]+ ){{0,2}}from ({_ADDRESS}|dynamic|hosts? with|ips?\b|"
    r"your (ip|server|network|host|provider))"
    r"|\bdnsbl:|\bin (an? |our )?(rbl|dnsbl)\b"
    r"|\b(listed|found) (in|on|at|by) .{0,30}\b(rbl|dnsbl|cloudmark|spamcop|barracuda|(black|block)[ -]?list)"
    r"|\b(zen|sbl|xbl|pbl|sbl-xbl)\.spamhaus\b|\bspamhaus (zen|sbl|xbl|pbl)\b|\bspamhaus\.org/query/ip\b"
    r"|\bbl\.spamcop\.net\b|\bb\.barracudacentral\b"
    r"|\bspams? from your ip\b|\bcomcast block for spam\b|\bblack ip\b|\bpoor reputation sender\b"
    r"|\bblocked - see https?://\S*(dnsbl|rbl|ip=))"
)

CLIENT = (
    # A fault in how the commands came says nothing of the address.
    r"\bclient host rejected\b(?!: improper use)"
    r"|\byou are not (allowed|permitted|authori[sz]ed) to connect\b|\bunauthori[sz]ed interface\b"
    r"|\baccess to submit messages to this e-?mail system has been rejected\b"
    # Exchange, of a login or of an address: SubmitDenied
    r"|\bdoes not have permissions to submit\b"
    r"|\bips?( address(es)?)?\b.{0,40}\bnot (allowed|permitted|authori[sz]ed|whitelisted|registered)\b"
)

# The recipient may be one that takes mail from members alone.
LOGIN = (
    r"^(?!.*(\b(for|to) this (recipient|group|list|mailbox)\b|\bresolver\.rst\b)).*"
    r"(\bauth(entication|entification)? (is |was )?requi(red|se)\b"
    r"|\b(turn on|enable|use) (smtp[ -])?auth(entication)?\b|\bauthentication turned on\b"
    r"|\bwithout (smtp[ -])?auth(entication|enticating)?\b"
    r"|\bunauthenticated (senders?|users?|clients?|connections?|relay\w*|submission)\b"
    r"|\b(must|have to|need to|needs to|required to|please) (be )?(first )?(smtp[ -])?authenticated?\b"
    r"|\b(must|have to|need to|needs to) (be )?(first )?log(ged)? ?in\b"
    r"|\b(client|user|session|you are) (was |is |has |have )?not (been )?(smtp[ -])?(authenticated|logged in)\b"
    r"|\bnot logged in\b|\bdon'?t authenticate\b"
    r"|\bpop3?[ -]before[ -]smtp\b|\b(check|get|read|retrieve) (your |for )?(new )?mail (first|before)\b)"
)

_STOPPED_ACCOUNT = (
    rf"\b(account|user|login|mailbox)\b( (is|has been|was|temporarily|permanently|currently|now))* {_STOPPED}\b"
)
# Postfix names what it has looked at, and by default says it at RCPT (smtpd_delay_reject): who has logged in
# (check_sasl_access, check_ccert_access), whatever the reason, or the sender (check_sender_access) for this one.
_BY_POSTFIX = rf"\b(sasl login name|client certificate) rejected:|\bsender address rejected:.*{_STOPPED_ACCOUNT}"
# Of the recipient, or perhaps: what follows must say more than that an account is locked.
_OF_THE_RECIPIENT = r"\brecipient|\btried to reach\b|\bmessage to\b|\bcorrespondent\b|\bmailbox\b|\bdelivery error\b"
# Postfix says this before whatever a policy service answers at RCPT, also of the account.
ACCOUNT = (
    rf"^(?:.*?\brecipient address rejected: )?(?!.*({_OF_THE_RECIPIENT})).*"
    rf"(\byour ([\w-]+ ){{0,3}}(account|login|user ?name|access)\b.{{0,60}}\b({_STOPPED}|compromised)\b"
    rf"|\b(sender|sending|smtp)('s)? account\b.{{0,40}}\b{_STOPPED}\b"
    rf"|\baccount\b.{{0,40}}\b{_STOPPED}\b.{{0,20}}\b(for|from) (outgoing|outbound|sending)\b"
    r"|\boutgoing (e-?)?mails?\b.{0,60}\b(suspen\w+|hold|disabled|locked)\b"
    r"|\bsending (for|from|of|by) (this|your) (account|user|address)\b.{0,20}\b(disabled|blocked|suspended|locked)\b"
    r"|\b(disabled|blocked|suspended|restricted|banned|locked|prevented) from sending\b"
    r"|\bsending (is |has been )?(disabled|suspended|blocked|paused)\b)"
    rf"|{_BY_POSTFIX}"
)
_AN_ACCOUNT = re.compile(_STOPPED_ACCOUNT)
_RECIPIENTS = re.compile(_OF_THE_RECIPIENT)

# The domain was not believed; a host may be called spf.isp.example.
_OF_THE_DOMAIN = re.compile(r"\b(spf|dkim|dmarc)\b(?!\.\w)")
# An expression is slower than a text, and a server may repeat its words for each of a thousand recipients.
_TELLING_CHARACTERS = 1024


def own_words(reply: Reply) -> str:
    """Return what the smarthost says of us, if it is of us, in lower case; "" when it is of others."""
    words = words_of(reply)[:_TELLING_CHARACTERS]
    return "" if is_of_others(reply) or _OF_THE_DOMAIN.search(words) else words


def names_stopped_account(reply: Reply, *, behind_recipients: bool) -> bool:
    """Return whether some account is said to be suspended, disabled or locked, and it is not a recipient's.

    At MAIL it cannot be. ``behind_recipients`` it can, as with Yahoo's "your message to ... cannot be delivered".
    """
    words = own_words(reply)
    if behind_recipients and _RECIPIENTS.search(words):
        return False
    return _AN_ACCOUNT.search(words) is not None
