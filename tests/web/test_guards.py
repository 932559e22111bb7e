"""What the pages refuse: strangers, others' forms, guessing, and people without the right."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import GatewayApp, create_app
from utils.config import load_settings

PASSWORD = "correct horse battery staple"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[GatewayApp]:
    """The application on an empty database, with three log-in attempts a minute."""
    settings = load_settings(
        env_file=None,
        environ={
            "DATABASE_URL": f"sqlite:///{tmp_path / 'openalgo.db'}",
            "SECRET_KEY": secrets.token_hex(32),
            "API_KEY_PEPPER": secrets.token_hex(32),
            "BACKUP_KEY": secrets.token_hex(32),
            "LOG_DIR": str(tmp_path / "log"),
            "LOGIN_RATE_LIMIT": "3 per minute",
        },
    )
    made = create_app(settings)
    made.gateway.database.upgrade()
    yield made
    made.gateway.close()


@pytest.fixture
def client(app: GatewayApp) -> FlaskClient:
    """A browser without pictures."""
    return app.test_client()


def _token(html: str) -> str:
    return html.split('name="csrf_token" type="hidden" value="')[1].split('"')[0]


def _send(client: FlaskClient, path: str, shown_on: str, **fields: str) -> tuple[int, str]:
    """Fill the form of the page `shown_on` and send it to `path`."""
    token = _token(client.get(shown_on).text)
    answer = client.post(path, data={"csrf_token": token, **fields})
    return answer.status_code, answer.text


def _log_in(app: GatewayApp, name: str, *, is_admin: bool) -> FlaskClient:
    app.gateway.access.create_user(name, PASSWORD, is_admin=is_admin)
    client = app.test_client()
    status, _ = _send(client, "/login", "/login", name=name, password=PASSWORD)
    assert status == 302
    return client


def test_setup_is_for_this_machine_only(client: FlaskClient) -> None:
    """Somebody on the network must not become the administrator first."""
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    page = client.get("/setup", environ_base=elsewhere)
    assert page.status_code == 403
    assert "users create NAME --admin" in page.text
    sent = client.post(
        "/setup",
        data={"name": "eve", "password": PASSWORD, "repeat": PASSWORD},
        environ_base=elsewhere,
    )
    assert sent.status_code == 403


def test_setup_closes_with_the_first_user(app: GatewayApp, client: FlaskClient) -> None:
    app.gateway.access.create_user("asha", PASSWORD, is_admin=True)
    assert client.get("/setup").location.endswith("/login")
    assert client.post("/setup", data={"name": "eve"}).location.endswith("/login")
    assert [user.name for user in app.gateway.access.list_users()] == ["asha"]


@pytest.mark.parametrize(
    "path", ["/", "/brokers", "/orders", "/api-keys", "/admin/master-contract"]
)
def test_strangers_are_sent_to_the_login(app: GatewayApp, client: FlaskClient, path: str) -> None:
    app.gateway.access.create_user("asha", PASSWORD, is_admin=True)
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer.location.endswith("/login")


def test_polling_strangers_are_told_to_reload(app: GatewayApp, client: FlaskClient) -> None:
    """A page that polls after its session ended goes to the log-in as a whole."""
    app.gateway.access.create_user("asha", PASSWORD, is_admin=True)
    answer = client.get("/orders/rows", headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"].endswith("/login")


def test_what_stands_is_told_to_open_pages_once(app: GatewayApp) -> None:
    """An alarm of this minute shows on a page of an hour ago, and is not announced again."""
    client = _log_in(app, "asha", is_admin=True)
    shown = client.get("/orders").text
    assert client.get(f"/notices?seen={_seen(shown)}").status_code == 204
    app.gateway.alarms.open("orders_unsettled", "prop", "One order of unknown outcome.")
    news = client.get(f"/notices?seen={_seen(shown)}")
    assert "One order of unknown outcome." in news.text
    assert client.get(f"/notices?seen={_seen(news.text)}").status_code == 204
    app.gateway.kill_switch.turn(True, "asha")
    assert "KILL SWITCH ON" in client.get(f"/notices?seen={_seen(news.text)}").text


def _seen(html: str) -> str:
    return html.split('name="seen" value="')[1].split('"')[0]


@pytest.mark.parametrize(
    "path",
    [
        "/logout",
        "/api-keys",
        "/api-keys/1/revoke",
        "/accounts/jainam_prop/connect",
        "/accounts/jainam_prop/disconnect",
        "/accounts/jainam_prop/ready",
        "/brokers/wisdom/off",
        "/orders/jainam_prop/1/cancel",
        "/admin/master-contract/jainam_prop",
        "/risk/jainam_prop",
        "/kill/on",
        "/kill/square-off",
    ],
)
def test_a_form_of_another_site_does_nothing(app: GatewayApp, path: str) -> None:
    """Without its CSRF token no form changes anything."""
    client = _log_in(app, "asha", is_admin=True)
    assert client.post(path, data={"name": "x", "scope": "trade"}).status_code == 400
    assert client.get("/brokers").status_code == 200
    assert app.gateway.accounts.is_broker_enabled("wisdom")[0]
    assert not app.gateway.kill_switch.is_on


def test_guessing_passwords_is_slowed_down(app: GatewayApp, client: FlaskClient) -> None:
    """LOGIN_RATE_LIMIT counts attempts, not looks at the page, and says when to come back."""
    app.gateway.access.create_user("asha", PASSWORD, is_admin=True)
    for _ in range(3):
        status, text = _send(client, "/login", "/login", name="asha", password="a wrong guess")
        assert status == 400
        assert "Name or password is wrong." in text
    token = _token(client.get("/login").text)
    blocked = client.post(
        "/login", data={"csrf_token": token, "name": "asha", "password": PASSWORD}
    )
    assert blocked.status_code == 429
    assert int(blocked.headers["Retry-After"]) > 0


def test_only_an_administrator_sees_the_admin_pages(app: GatewayApp) -> None:
    client = _log_in(app, "ravi", is_admin=False)
    assert client.get("/admin/master-contract").status_code == 403
    assert "Switches" not in client.get("/brokers").text
    assert client.get("/risk").status_code == 403
    for path in ("/risk/jainam_prop", "/kill/on", "/kill/square-off"):
        status, _ = _send(client, path, "/brokers")
        assert status == 403
    assert not app.gateway.kill_switch.is_on
    status, _ = _send(client, "/brokers/wisdom/off", "/brokers")
    assert status == 403
    status, _ = _send(client, "/api-keys", "/api-keys", name="k", scope="admin", account="")
    assert status == 400
    assert app.gateway.access.list_keys(app.gateway.access.principal_of("ravi")) == []


def test_logging_out_ends_the_session_in_the_database(app: GatewayApp) -> None:
    """A copied cookie is worth nothing after the log-out."""
    client = _log_in(app, "asha", is_admin=True)
    cookie = client.get_cookie("openalgo_web")
    assert cookie is not None
    _send(client, "/logout", "/brokers")
    thief = app.test_client()
    thief.set_cookie("openalgo_web", cookie.value)
    assert thief.get("/brokers").location.endswith("/login")


def test_a_key_of_somebody_else_cannot_be_revoked(app: GatewayApp) -> None:
    owner = app.gateway.access.create_user("owner", PASSWORD)
    key, plain = app.gateway.access.create_key(owner, "mine")
    client = _log_in(app, "ravi", is_admin=False)
    status, _ = _send(client, f"/api-keys/{key.id}/revoke", "/brokers")
    assert status == 404
    assert app.gateway.access.authenticate_key(plain) is not None


def test_an_idle_session_ends(app: GatewayApp) -> None:
    """A session lives for SESSION_LIFETIME after its last use, and not a second longer."""
    user = app.gateway.access.create_user("asha", PASSWORD, is_admin=True)
    sessions = app.gateway.web_sessions
    token = sessions.open(user, "127.0.0.1")
    found = sessions.find(token)
    assert found is not None
    assert found.scope == "admin"
    sessions.lifetime_seconds = 0
    late = sessions.open(user, "127.0.0.1")
    assert sessions.find(late) is None
    assert sessions.close_all(user.user_id) >= 1
    assert sessions.find(token) is None


def test_markup_in_names_stays_text(app: GatewayApp) -> None:
    """What people type is shown, never run."""
    client = _log_in(app, "asha", is_admin=True)
    status, page = _send(
        client, "/api-keys", "/api-keys", name="<script>x</script>", scope="read", account=""
    )
    assert status == 200
    assert "<script>x</script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "path", ["/monitoring", "/monitoring/quality", "/monitoring/summary.json",
             "/monitoring/quality.json"],
)  # fmt: skip
def test_what_is_watched_is_for_administrators(app: GatewayApp, path: str) -> None:
    stranger = app.test_client().get(path)
    assert stranger.status_code == 302
    assert _log_in(app, "reader", is_admin=False).get(path).status_code == 403
    app.gateway.figures.put({("orders", "accepted"): 4321.0})
    boss = _log_in(app, "boss", is_admin=True)
    answer = boss.get(path, headers={"X-Request-ID": "page-1"})
    assert answer.status_code == 200
    assert answer.headers["X-Request-ID"] == "page-1"
    assert ("4321" if "quality" not in path else "100 %") in answer.text
    assert boss.get(f"{path}?days=91").status_code == 400
    assert boss.post(path).status_code == 405  # there is nothing to change
