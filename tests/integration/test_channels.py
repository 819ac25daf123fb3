"""Every kind of channel against a real server on loopback."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from doubles.certificates import make
from doubles.receiver import Receiver
from doubles.smtp import MailServer
from doubles.telegram import BotApi
from hostile import HOSTILE
from standardwebhooks import Webhook

from services.notifier.channels import Letter, Outlets, apprise, send
from services.notifier.forms import plain, subject
from services.notifier.message import Fact, compose
from services.notifier.note import Note
from shared.channels import AppriseConfig, EmailConfig, TelegramConfig, WebhookConfig
from shared.errors import DeliveryError
from shared.outbound import Sender
from shared.targets import parse_networks

LOOPBACK = parse_networks("127.0.0.0/8")
TOKEN = "123456:secret-bot-token"
LETTER = Letter(
    target="channel:3",
    event_id="mp.abc.7",
    event_type="monitor.dead",
    at=1_760_616_480_000,
    payload='{"monitor": {"name": "api-worker"}, "new_status": "dead"}',
    note=Note(
        "❌ Service api-worker has been silent for more than 5 minutes.", ("Last heartbeat: 12:03 UTC",)
    ),
    attempted=1_760_616_481_500,
)
PAIR = make()
MAIL_HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
]


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(LOOPBACK, deadline=1.0, tls=PAIR.client()) as sender:
        yield sender


@pytest.fixture
def outlets(sender: Sender) -> Outlets:
    return Outlets(sender, smtp_from="pulse@example.org")


@pytest.fixture
async def bot() -> AsyncIterator[BotApi]:
    async with BotApi() as bot:
        yield bot


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


def telegram(bot: BotApi, **changes: str) -> TelegramConfig:
    return TelegramConfig.model_validate(
        {"bot_token": TOKEN, "chat_id": "42", "api_base": bot.url, **changes}
    )


async def failure(kind, config, outlets, letter=LETTER) -> DeliveryError:
    """The error of an attempt that must fail, after a look that no secret is in it."""
    with pytest.raises(DeliveryError) as caught:
        await send(kind, config, letter, outlets)
    assert "secret" not in f"{caught.value} {caught.value.body}"
    return caught.value


class TestTelegram:
    async def test_a_dead_message_arrives_in_its_exact_words(self, bot, outlets):
        """The chat gets the text of the contract."""
        await send("telegram", telegram(bot), LETTER, outlets)
        assert [message["parsed"] for message in bot.journal.received] == [
            "❌ Service api-worker has been silent for more than 5 minutes.\nLast heartbeat: 12:03 UTC"
        ]
        assert bot.journal.received[0]["chat_id"] == "42"

    async def test_flood_control_is_kept_to_the_second(self, bot, outlets):
        """429 says how long to wait; the wait is exact."""
        bot.flood = [37]
        error = await failure("telegram", telegram(bot), outlets)
        assert (error.status, error.retry_after, error.exact, error.permanent) == (429, 37.0, True, False)

    @pytest.mark.parametrize(
        ("attribute", "value", "status", "words"),
        [
            ("missing", {"42"}, 400, "chat not found"),
            ("blocked", {"42"}, 403, "bot was blocked by the user"),
            ("revoked", {TOKEN}, 401, "Unauthorized"),
        ],
    )
    async def test_a_wrong_chat_or_token_is_permanent(self, bot, outlets, attribute, value, status, words):
        """No further attempt is made where none can succeed, and the error says why."""
        setattr(bot, attribute, value)
        error = await failure("telegram", telegram(bot), outlets)
        assert (error.status, error.permanent) == (status, True)
        assert words in str(error)

    async def test_a_malformed_token_is_permanent(self, bot, outlets):
        """The Bot API knows no such path."""
        error = await failure("telegram", telegram(bot, bot_token="secret"), outlets)
        assert (error.status, error.permanent) == (404, True)

    async def test_a_group_that_became_a_supergroup_is_followed(self, bot, outlets):
        """The message reaches the new id at once, and the reply says what to configure."""
        bot.moved = {"42": -1001234}
        reply = await send("telegram", telegram(bot), LETTER, outlets)
        assert bot.journal.received[0]["chat_id"] == "-1001234"
        assert "-1001234" in reply.body

    async def test_success_that_is_longer_than_what_is_kept_is_success(self, bot, outlets):
        """The answer repeats the text, so it is cut; that must not look like a failure."""
        letter = replace(LETTER, note=Note("x" * 3000))
        assert (await send("telegram", telegram(bot), letter, outlets)).status == 200

    @pytest.mark.parametrize("status", [500, 502, 301, 200])
    async def test_whatever_is_no_bot_api_is_a_temporary_failure(self, receiver, outlets, status):
        """A proxy's page instead of an answer, even with 200, does not count as told."""
        receiver.answers = [(status, "<html>hello</html>", {})]
        config = TelegramConfig(bot_token=TOKEN, chat_id="42", api_base=receiver.url)
        error = await failure("telegram", config, outlets)
        assert (error.status, error.permanent) == (status, False)

    async def test_a_private_api_base_needs_permission(self, bot):
        """Telegram's address is checked like any other."""
        async with Sender(tls=PAIR.client()) as sender:
            error = await failure("telegram", telegram(bot), Outlets(sender))
        assert error.label == "forbidden_address"


class TestWebhook:
    async def test_the_payload_carries_type_and_text_and_both_signatures(self, receiver, outlets):
        """Independent verifiers accept the body, and re-serialising it gives the same bytes."""
        config = WebhookConfig(url=f"{receiver.url}/hook", secret="s3", headers={"X-Team": "ops"})
        await send("webhook", config, replace(LETTER, attempted=round(time.time() * 1000)), outlets)
        got = receiver.journal.received[0]
        content = json.loads(got["body"])
        assert content["type"] == "monitor.dead"
        assert content["monitor"] == {"name": "api-worker"}
        assert content["text"].endswith("Last heartbeat: 12:03 UTC")
        assert json.dumps(content, sort_keys=True) == got["body"]
        headers = got["headers"]
        digest = hmac.new(b"s3", got["body"].encode(), hashlib.sha256).hexdigest()
        assert headers["X-Webhook-Signature"] == f"sha256={digest}"
        assert (headers["X-Team"], headers["X-Webhook-Id"], headers["webhook-id"]) == ("ops", "3", "mp.abc.7")
        assert headers["Content-Type"] == "application/json"
        Webhook(b"s3").verify(got["body"], headers)

    @pytest.mark.parametrize("status", [200, 201, 204, 299])
    async def test_2xx_is_success(self, receiver, outlets, status):
        """The reply keeps the status."""
        config = WebhookConfig(url=f"{receiver.url}/status/{status}")
        assert (await send("webhook", config, LETTER, outlets)).status == status

    @pytest.mark.parametrize("status", [301, 302, 400, 404, 410, 429, 500, 503])
    async def test_anything_else_is_failure(self, receiver, outlets, status):
        """Redirects are not followed; 410 alone is permanent; Retry-After is passed on."""
        config = WebhookConfig(url=f"{receiver.url}/status/{status}?retry-after=7")
        error = await failure("webhook", config, outlets)
        assert (error.status, error.permanent, error.retry_after) == (status, status == 410, 7.0)
        assert (error.exact, error.body) == (False, "as you wish")


class TestEmail:
    async def test_one_message_with_text_and_html_reaches_every_recipient(self, sender):
        """Both parts say the same, and it is marked as sent by a machine."""
        async with MailServer() as server:
            outlets = Outlets(sender, f"smtp://127.0.0.1:{server.port}", "Pulse <pulse@example.org>")
            await send("email", EmailConfig(to=("a@example.org", "b@example.org")), LETTER, outlets)
        (mail,) = server.journal.received
        assert mail["recipients"] == ["a@example.org", "b@example.org"]
        assert mail["sender"] == "pulse@example.org"
        assert mail["subject"] == LETTER.note.title
        assert mail["text"].splitlines() == [LETTER.note.title, "Last heartbeat: 12:03 UTC"]
        assert LETTER.note.title in mail["html"]
        headers = dict(mail["headers"])
        assert headers["Auto-Submitted"] == "auto-generated"
        assert headers["Date"] == "Thu, 16 Oct 2025 12:08:00 +0000"

    async def test_every_attempt_has_the_same_message_id(self, sender):
        """Whoever gets a message twice can tell; another event or channel has another id."""
        async with MailServer() as server:
            outlets = Outlets(sender, f"smtp://127.0.0.1:{server.port}", "pulse@example.org")
            for letter in (
                LETTER,
                LETTER,
                replace(LETTER, event_id="x"),
                replace(LETTER, target="channel:4"),
            ):
                await send("email", EmailConfig(to=("a@example.org",)), letter, outlets)
        ids = [mail["message_id"] for mail in server.journal.received]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 3
        assert ids[0].endswith("@example.org>")

    @pytest.mark.parametrize(
        ("scheme", "server_has", "arrives_encrypted"),
        [
            ("smtp", {}, False),
            ("smtp", {"starttls": PAIR}, True),
            ("smtp", {"starttls": make("elsewhere.test")}, True),
            ("smtp+starttls", {"starttls": PAIR}, True),
            ("smtps", {"tls": PAIR}, True),
        ],
    )
    async def test_the_url_says_how_it_is_encrypted(self, outlets, scheme, server_has, arrives_encrypted):
        """Plain upgrades when it can, whatever the certificate; the others are encrypted."""
        contexts = {name: pair.server() for name, pair in server_has.items()}
        async with MailServer(**contexts) as server:
            config = EmailConfig(to=("a@example.org",), smtp_url=f"{scheme}://127.0.0.1:{server.port}")
            await send("email", config, LETTER, outlets)
        assert [mail["tls"] for mail in server.journal.received] == [arrives_encrypted]

    @pytest.mark.parametrize(
        ("scheme", "server_has", "label"),
        [
            ("smtp+starttls", {}, "disconnected"),
            ("smtp+starttls", {"starttls": make("elsewhere.test")}, "tls"),
            ("smtps", {"tls": make("elsewhere.test")}, "tls"),
        ],
    )
    async def test_demanded_encryption_is_demanded(self, outlets, scheme, server_has, label):
        """No mail leaves without STARTTLS, or to a certificate of somebody else."""
        contexts = {name: pair.server() for name, pair in server_has.items()}
        async with MailServer(**contexts) as server:
            config = EmailConfig(to=("a@example.org",), smtp_url=f"{scheme}://127.0.0.1:{server.port}")
            error = await failure("email", config, outlets)
        assert (error.label, error.permanent) == (label, False)
        assert server.journal.received == []

    @pytest.mark.parametrize(
        ("names", "permanent", "status"),
        [(("refused",), True, 550), (("later",), False, 451), (("refused", "later"), False, 550)],
    )
    async def test_refused_recipients(self, outlets, names, permanent, status):
        """5xx is permanent, 4xx is not, and one hope is enough to try again."""
        async with MailServer() as server:
            config = EmailConfig(
                to=tuple(f"{name}@example.org" for name in names), smtp_url=f"smtp://127.0.0.1:{server.port}"
            )
            error = await failure("email", config, outlets)
        assert (error.permanent, error.status) == (permanent, status)

    async def test_one_accepted_recipient_is_success(self, outlets):
        """Another attempt would tell that one twice; the reply names the other."""
        async with MailServer() as server:
            config = EmailConfig(
                to=("refused@example.org", "a@example.org"), smtp_url=f"smtp://127.0.0.1:{server.port}"
            )
            reply = await send("email", config, LETTER, outlets)
        assert server.journal.received[0]["recipients"] == ["a@example.org"]
        assert "refused@example.org" in reply.body

    @pytest.mark.parametrize(("answer", "permanent"), [("552 too large", True), ("451 disk full", False)])
    async def test_a_refused_mail(self, outlets, answer, permanent):
        """The server's word on the mail decides."""
        async with MailServer() as server:
            server.refuse_data = answer
            config = EmailConfig(to=("a@example.org",), smtp_url=f"smtp://127.0.0.1:{server.port}")
            error = await failure("email", config, outlets)
        assert (error.permanent, error.status) == (permanent, int(answer[:3]))

    async def test_login(self, outlets):
        """User and password of the URL log in; a wrong one is said without being shown, and may be mended."""
        async with MailServer(login=("me", "p@ss secret")) as server:
            base = f"@127.0.0.1:{server.port}"
            config = EmailConfig(to=("a@example.org",), smtp_url=f"smtp://me:p%40ss%20secret{base}")
            await send("email", config, LETTER, outlets)
            wrong = EmailConfig(to=("a@example.org",), smtp_url=f"smtp://me:secret{base}")
            error = await failure("email", wrong, outlets)
        assert (len(server.journal.received), error.status, error.permanent) == (1, 535, False)

    async def test_a_server_that_hangs_ends_in_time(self, outlets):
        """The deadline holds for the whole conversation."""
        async with MailServer() as server:
            server.hang = True
            config = EmailConfig(to=("a@example.org",), smtp_url=f"smtp://127.0.0.1:{server.port}")
            assert (await failure("email", config, outlets)).label == "timeout"

    async def test_a_server_per_channel_is_checked_and_that_of_the_settings_is_not(self):
        """Who configures a channel must not reach into the network; who runs MishPulse may."""
        async with MailServer() as server, Sender(deadline=1.0, tls=PAIR.client()) as sender:
            url = f"smtp://127.0.0.1:{server.port}"
            config = EmailConfig(to=("a@example.org",), smtp_url=url)
            error = await failure("email", config, Outlets(sender, smtp_from="p@example.org"))
            assert (error.label, server.connections) == ("forbidden_address", 0)
            await send(
                "email", EmailConfig(to=("a@example.org",)), LETTER, Outlets(sender, url, "p@example.org")
            )
        assert len(server.journal.received) == 1

    async def test_without_any_mail_server(self, sender):
        """The error names the setting."""
        error = await failure("email", EmailConfig(to=("a@example.org",)), Outlets(sender))
        assert "PULSE_SMTP_URL" in str(error)

    async def test_nobody_listens(self, sender):
        """A refused connection is a temporary failure."""
        outlets = Outlets(sender, "smtp://127.0.0.1:1", "p@example.org")
        error = await failure("email", EmailConfig(to=("a@example.org",)), outlets)
        assert (error.label, error.permanent) == ("refused", False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own imports
class TestApprise:
    async def test_a_service_of_apprise_gets_the_text(self, receiver, outlets):
        """Its JSON service posts to the receiver."""
        config = AppriseConfig(url=f"json://127.0.0.1:{receiver.port}/hook")
        await send("apprise", config, LETTER, outlets)
        assert LETTER.note.title in json.loads(receiver.journal.received[0]["body"])["message"]

    async def test_loading_it_is_not_of_the_deadline(self, receiver, outlets, monkeypatch):
        """On a busy machine its hundred services take longer to load than a send may."""
        loaded = apprise._library

        def slowly():
            time.sleep(1.2)
            return loaded()

        monkeypatch.setattr(apprise, "_library", slowly)
        config = AppriseConfig(url=f"json://127.0.0.1:{receiver.port}/hook")
        assert (await send("apprise", config, LETTER, outlets)).status == 200

    async def test_its_connections_are_checked(self, receiver):
        """A library's own connections go nowhere that ours may not."""
        async with Sender(deadline=2.0, tls=PAIR.client()) as sender:
            config = AppriseConfig(url=f"json://localhost:{receiver.port}/hook")
            error = await failure("apprise", config, Outlets(sender))
        assert (error.label, receiver.journal.received) == ("forbidden_address", [])

    async def test_an_unknown_service_is_permanent(self, outlets):
        """Apprise says no before anything is sent."""
        error = await failure("apprise", AppriseConfig(url="nosuch://secret"), outlets)
        assert (error.permanent, error.label) == (True, "config")

    async def test_a_failure_is_temporary(self, receiver, outlets):
        """Apprise only says that it did not work."""
        config = AppriseConfig(url=f"json://127.0.0.1:{receiver.port}/status/500")
        error = await failure("apprise", config, outlets)
        assert (error.permanent, error.label) == (False, "rejected")

    async def test_it_ends_in_time(self, receiver, outlets):
        """A service that hangs holds its thread, not the worker."""
        config = AppriseConfig(url=f"json://127.0.0.1:{receiver.port}/slow?s=1.3")
        assert (await failure("apprise", config, outlets)).label == "timeout"


def hostile_letter(text: str) -> Letter:
    fields = {"monitor": "abc", "name": text, "message": text, "new": "error"}
    note = compose(Fact("monitor.error", LETTER.at, fields), "en")
    return replace(
        LETTER,
        event_id=f"e{text[:120]}",
        event_type="monitor.error",
        note=note,
        attempted=int(time.time() * 1000),
    )


class TestHostileStrings:
    async def test_telegram_takes_every_one(self, bot):
        """None breaks the markup or the limit: each is told, readable."""
        async with Sender(LOOPBACK, tls=PAIR.client()) as sender:
            for text in HOSTILE:
                await send("telegram", telegram(bot), hostile_letter(text), Outlets(sender))
        assert bot.refused == []
        assert len(bot.journal.received) == len(HOSTILE)

    async def test_mail_takes_every_one(self):
        """None adds a header or a recipient, and text and subject arrive whole."""
        async with MailServer() as server, Sender(LOOPBACK, tls=PAIR.client()) as sender:
            outlets = Outlets(sender, f"smtp://127.0.0.1:{server.port}", "pulse@example.org")
            for text in HOSTILE:
                await send("email", EmailConfig(to=("a@example.org",)), hostile_letter(text), outlets)
        assert len(server.journal.received) == len(HOSTILE)
        for text, mail in zip(HOSTILE, server.journal.received, strict=True):
            note = hostile_letter(text).note
            assert mail["recipients"] == ["a@example.org"]
            assert sorted(name for name, _ in mail["headers"]) == sorted(MAIL_HEADERS)
            assert mail["subject"] == subject(note)
            assert mail["text"].replace("\r\n", "\n").rstrip("\n") == plain(note)

    async def test_a_webhook_takes_every_one(self, receiver):
        """The body is JSON, the headers hold, and the signature fits the id as it was sent."""
        config = WebhookConfig(url=receiver.url, secret="s3")
        async with Sender(LOOPBACK, tls=PAIR.client()) as sender:
            for text in HOSTILE[::4]:
                await send("webhook", config, hostile_letter(text), Outlets(sender))
        for got in receiver.journal.received:
            assert json.loads(got["body"])["type"] == "monitor.error"
            assert "Subject" not in got["headers"]
            Webhook(b"s3").verify(got["body"], got["headers"])
