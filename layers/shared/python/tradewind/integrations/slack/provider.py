"""The ``Messenger`` that a task is handed: the tenant's own Slack channel, each key once, a message a second.

Slack has no idempotency. A key is claimed before its message is posted and marked after; who finds it claimed and not
marked cannot know, and looks the message up in the channel before it posts again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tradewind.errors import CredentialsRejectedError, MisconfiguredError, NotFoundError
from tradewind.integrations.slack.answers import PROVIDER
from tradewind.integrations.slack.client import SlackClient
from tradewind.integrations.transport import shared_transport
from tradewind.ports import Note, Posted
from tradewind.ratelimit import RateLimiter, Window, connected
from tradewind.settings import Settings
from tradewind.tasks.scope import Scope, vault_of
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant

BETWEEN_POSTS = timedelta(milliseconds=1050)
_CLAIM = """
INSERT INTO sent_messages (provider, key, state) VALUES (%(provider)s, %(key)s, 'claimed')
ON CONFLICT DO NOTHING RETURNING key
"""
_FIND = "SELECT state, external_id FROM sent_messages WHERE provider = %(provider)s AND key = %(key)s"
_MARK = """
UPDATE sent_messages SET state = 'sent', external_id = %(external_id)s, sent_at = clock_timestamp()
WHERE provider = %(provider)s AND key = %(key)s
"""


def messenger(scope: Scope) -> SlackMessenger:
    """The tenant's messenger. Its credentials are read when something is posted."""
    return SlackMessenger(scope.settings, scope.tenant, scope.session, vault_of(scope.settings))


class SlackMessenger:
    """One tenant's channel."""

    def __init__(self, settings: Settings, tenant: Tenant, session: Session, vault: CredentialVault) -> None:
        self._settings = settings
        self._tenant = tenant
        self._session = session
        self._vault = vault

    def post(self, key: str, note: Note) -> Posted:
        """See ``Messenger.post``. A picture that fails is tried again with the message's key; the message is not."""
        account = self._account()
        if account is None:
            return Posted.NOT_CONNECTED
        token, channel = account
        transport = shared_transport(self._settings.provider_timeout).bound_to(self._session.settle)
        client = SlackClient(self._settings.slack_url, transport, token, channel)
        sent = self._once(key, channel, lambda claimed: self._text(client, key, note, claimed))
        if note.picture is not None:
            picture = note.picture
            new = self._once(f"{key}:picture", channel, lambda _: client.upload(picture))
            sent = sent or new
        return Posted.SENT if sent else Posted.AGAIN

    def _text(self, client: SlackClient, key: str, note: Note, claimed: bool) -> str:
        return (claimed and self._found(client, key)) or client.post(key, note)

    @staticmethod
    def _found(client: SlackClient, key: str) -> str | None:
        """Where a claim was left; a bot that may not read the channel cannot say, and posts again."""
        try:
            return client.find(key)
        except CredentialsRejectedError:
            return None

    def _once(self, key: str, channel: str, act: Callable[[bool], str]) -> bool:
        """Claim, act, mark. ``act`` is told whether somebody claimed it before and left. False where it was done."""
        about = {"provider": PROVIDER, "key": key}
        with self._session.transaction(self._tenant.id) as transaction:
            new = transaction.fetch_one(_CLAIM, about) is not None
            row = transaction.fetch_one(_FIND, about)
        self._session.settle()
        if row is not None and row["state"] == "sent":
            return False
        self._wait(channel)
        external_id = act(not new)
        with self._session.transaction(self._tenant.id) as transaction:
            transaction.execute(_MARK, {**about, "external_id": external_id})
        self._session.settle()
        return True

    def _wait(self, channel: str) -> None:
        if self._settings.redis_url is None:
            raise MisconfiguredError("TRADEWIND_REDIS_URL is not set; provider limits need Valkey")
        window = Window(f"rate:{{slack:{self._tenant.id}:{channel}}}:posts", 1, BETWEEN_POSTS)
        RateLimiter(connected(self._settings.redis_url)).pass_window(window)

    def _account(self) -> tuple[str, str] | None:
        credentials = TenantCredentials(self._tenant.id, self._vault)
        try:
            with self._session.transaction(self._tenant.id) as transaction:
                token = credentials.get(transaction, Label(PROVIDER, "bot_token")).secret
                channel = credentials.get(transaction, Label(PROVIDER, "channel")).secret
        except NotFoundError:
            return None
        self._session.settle()
        return token, channel
