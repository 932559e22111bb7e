"""The pages in a real Chromium: from the first set-up to an order that is cancelled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openalgo
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from benchmarks.servers import Served

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]

PASSWORD = "correct horse battery staple"
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"] + [
    f"--disable-{what}" for what in ("background-networking", "component-update", "sync")
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway without users, with its simulator."""
    folder: Path = tmp_path_factory.mktemp("web")
    patient = {"LOGIN_RATE_LIMIT": "50 per minute"}
    with Served(folder, contracts=(), user=None, environ=patient) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One Chromium for all pages."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium_path, args=_QUIET)
        yield started
        started.close()


@pytest.fixture(scope="module")
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A tab that notes every complaint of the browser: errors of scripts, CSP, missing files."""
    context = browser.new_context(base_url=served.url)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type == "error" and "status of 4" not in said.text
            else None
        ),
    )
    tab.on("dialog", lambda dialog: dialog.accept())
    yield tab
    context.close()
    assert complaints == []


def _note(page: Page) -> Any:
    return expect(page.get_by_role("status").first)


def test_a_newcomer_goes_from_set_up_to_a_cancelled_order(page: Page, served: Served) -> None:
    """Everything that the web is for, in the order in which a newcomer meets it."""
    page.goto("/")
    expect(page.get_by_role("heading", name="Create the administrator")).to_be_visible()
    expect(page.get_by_text("SANDBOX", exact=True)).to_be_visible()

    page.get_by_label("Name").fill("asha")
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_label("Password again").fill("different")
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_text("The passwords differ.")).to_be_visible()

    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("heading", name="Brokers", exact=True)).to_be_visible()

    _connect(page)
    _see_that_dropdown_and_page_agree(page)
    _load_the_master_contract(page)
    _see_that_it_is_ready(page)
    key = _create_a_key(page)
    _see_and_cancel_orders(page, served, key)
    _set_a_limit_and_square_everything_off(page, served, key)
    _switch_the_broker_off_and_on(page)
    _log_out_and_in(page)


def _connect(page: Page) -> None:
    page.goto("/brokers?broker=jainam_prop")
    row = page.get_by_role("row").filter(has_text="jainam_prop")
    disconnect = row.get_by_role("button", name="Disconnect")
    if disconnect.count():  # it connects by itself at start
        disconnect.click()
        _note(page).to_have_text("jainam_prop is disconnected.")
    row.get_by_role("button", name="Connect", exact=True).click()
    _note(page).to_have_text("jainam_prop is connected.")
    expect(row.get_by_text("connected", exact=True)).to_be_visible()
    expect(row.get_by_text("SANDBOX")).to_be_visible()
    expect(_dropdown(page).locator("option")).to_have_count(2)
    _dropdown(page).select_option(value="wisdom")
    expect(page.get_by_role("heading", name="Wisdom Capital accounts")).to_be_visible()


def _see_that_dropdown_and_page_agree(page: Page) -> None:
    """Nobody acts on the account that the dropdown does not name."""
    _follow(page, "Brokers", to="/brokers")
    wisdom = page.get_by_role("heading", name="Wisdom Capital accounts")
    _dropdown(page).select_option(value="wisdom")
    expect(wisdom).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Jainam Prop accounts")).to_be_visible()
    expect(_dropdown(page)).to_have_value("jainam_prop")

    page.route("**/app.js*", lambda _: None)  # the script is long in coming
    page.goto("/brokers", wait_until="commit")
    _dropdown(page).select_option(value="wisdom")
    page.unroute("**/app.js*")  # which lets it come
    expect(wisdom).to_be_visible()


def _dropdown(page: Page) -> Locator:
    return page.get_by_label("Broker", exact=True)


def _follow(page: Page, link: str, *, to: str) -> None:
    """Click a link of the navigation and wait until its page is there, with its scripts.

    Chromium answers the click before the next page has come: what is looked for by its name
    alone may be found on the page that is being left.
    """
    page.get_by_role("link", name=link, exact=True).click()
    page.wait_for_url(f"**{to}")


def _load_the_master_contract(page: Page) -> None:
    _follow(page, "Master contract", to="/admin/master-contract")
    _dropdown(page).select_option(value="jainam_prop")
    expect(page).to_have_url(re.compile("broker=jainam_prop"))
    page.get_by_role("button", name="Download master contract").click()
    newest = page.get_by_role("row").filter(has_text="asha").first
    expect(newest.get_by_text("done")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("row").filter(has_text="NFO").first).to_be_visible()


def _see_that_it_is_ready(page: Page) -> None:
    page.goto("/brokers?broker=jainam_prop")
    row = page.get_by_role("row").filter(has_text="jainam_prop")
    row.get_by_role("button", name="Ready?").click()
    _note(page).to_contain_text("jainam_prop is ready to trade. Connected until")
    expect(page.get_by_text("Circuits, as this process sees them")).to_contain_text("closed")


def _create_a_key(page: Page) -> str:
    _follow(page, "API keys", to="/api-keys")
    page.get_by_label("Name").fill("python")
    page.get_by_role("button", name="Create key").click()
    key = page.locator("#fresh-key").inner_text().strip()
    assert len(key) == 64
    page.goto("/api-keys")
    assert key not in page.content()
    expect(page.get_by_text(f"{key[:8]}…")).to_be_visible()
    return key


def _see_and_cancel_orders(page: Page, served: Served, key: str) -> None:
    _follow(page, "Order book", to="/orders")
    expect(page.get_by_text("No orders today.")).to_be_visible()
    client = openalgo.api(api_key=key, host=served.url)
    filled = client.placeorder(
        strategy="web", symbol="RELIANCE", action="BUY", exchange="NSE", quantity=3
    )
    assert filled["status"] == "success", filled
    quote = client.quotes(symbol="INFY", exchange="NSE")["data"]["ltp"]
    _see_what_no_book_shows_yet(page, served, client)
    resting = client.placeorder(
        strategy="web", symbol="INFY", action="BUY", exchange="NSE", quantity=2,
        price_type="LIMIT", price=round(quote * 0.95, 1),
    )  # fmt: skip
    # Nobody reloads: the page's own polling must bring the rows.
    first = page.get_by_role("row").filter(has_text=filled["orderid"])
    expect(first.get_by_text("filled", exact=True)).to_be_visible(timeout=10_000)
    second = page.get_by_role("row").filter(has_text=resting["orderid"])
    expect(second.get_by_text("open", exact=True)).to_be_visible()
    expect(page.locator("#book tbody tr").first).to_contain_text(resting["orderid"])
    _see_that_polling_disturbs_nobody(page, resting["orderid"])
    second.get_by_role("button", name="Cancel").click()
    _note(page).to_contain_text("accepted")
    expect(second.get_by_text("cancelled", exact=True)).to_be_visible(timeout=10_000)


def _see_what_no_book_shows_yet(page: Page, served: Served, client: openalgo.api) -> None:
    """The broker is slow: the page tells of the order all the same."""
    served.simulator.faults({"route": "POST /orders", "fault": "slow", "seconds": 4.0})
    with ThreadPoolExecutor(1) as elsewhere:
        sent = elsewhere.submit(
            client.placeorder, strategy="web", symbol="SBIN", action="BUY", exchange="NSE",
            quantity=7,
        )
        waiting = page.get_by_role("status").filter(has_text="Do not repeat these")
        expect(waiting).to_contain_text(re.compile(r"BUY 7 SBIN is being sent \(\w{26}\)\."))
        order = sent.result()
    served.simulator.faults()
    expect(page.get_by_role("row").filter(has_text=order["orderid"])).to_be_visible()
    expect(waiting).to_have_count(0)


def _see_that_polling_disturbs_nobody(page: Page, order_id: str) -> None:
    """Two polls later the same button has the focus, and what was selected still is."""
    page.locator(f"#cancel-{order_id}").focus()
    number = page.get_by_text(order_id, exact=True)
    number.evaluate("element => getSelection().selectAllChildren(element)")
    for _ in range(2):
        with page.expect_response("**/orders/rows*") as answer:
            pass
        assert answer.value.status == 204
    assert page.evaluate("document.activeElement.id") == f"cancel-{order_id}"
    assert page.evaluate("getSelection().toString()") == order_id


def _set_a_limit_and_square_everything_off(page: Page, served: Served, key: str) -> None:
    client = openalgo.api(api_key=key, host=served.url)

    def buy() -> dict[str, Any]:
        found: dict[str, Any] = client.placeorder(
            strategy="web", symbol="RELIANCE", action="BUY", exchange="NSE", quantity=3
        )
        return found

    _follow(page, "Risk", to="/risk")
    page.get_by_label("RISK_MAX_ORDER_QUANTITY").fill("0")
    page.get_by_role("button", name="Save limits").click()
    expect(page.get_by_role("listitem").filter(has_text="greater than 0")).to_be_visible()
    page.get_by_label("RISK_MAX_ORDER_QUANTITY").fill("2")
    page.get_by_role("button", name="Save limits").click()
    _note(page).to_have_text("Changed: RISK_MAX_ORDER_QUANTITY: setting → 2.")
    assert "RISK_MAX_ORDER_QUANTITY" in str(buy())
    page.get_by_label("RISK_MAX_ORDER_QUANTITY").fill("")
    page.get_by_role("button", name="Save limits").click()
    assert buy()["status"] == "success"

    page.get_by_role("button", name="Stop and square off everything").click()
    closed = page.get_by_role("region", name="Square off of jainam_prop: done")
    expect(closed.get_by_role("row").filter(has_text="RELIANCE")).to_contain_text("success")
    expect(page.get_by_role("alert").filter(has_text="KILL SWITCH ON")).to_be_visible()
    assert "kill switch" in str(buy())
    page.get_by_role("button", name="Allow entries again").click()
    expect(page.get_by_role("alert").filter(has_text="KILL SWITCH ON")).to_have_count(0)


def _switch_the_broker_off_and_on(page: Page) -> None:
    _follow(page, "Brokers", to="/brokers")
    switches = page.get_by_role("region", name="Switches")
    switches.get_by_role("row").filter(has_text="Wisdom").get_by_role("button").click()
    expect(_dropdown(page).locator("option")).to_have_count(1)
    switches.get_by_role("row").filter(has_text="Wisdom").get_by_role("button").click()
    expect(_dropdown(page).locator("option")).to_have_count(2)


def _log_out_and_in(page: Page) -> None:
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto("/orders")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.get_by_label("Name").fill("asha")
    page.get_by_label("Password").fill("a wrong password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    _log_in(page)


def _log_in(page: Page) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill("asha")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Brokers", exact=True)).to_be_visible()


@pytest.fixture
def reader(served: Served) -> Served:
    """A gateway that knows asha, also where the newcomer's test did not run."""
    if "asha" not in served.flask("users", "list"):
        served.flask("users", "create", "asha", "--admin", "--password-stdin", stdin=PASSWORD)
    return served


PAGES = (
    "/brokers", "/orders", "/api-keys", "/admin/master-contract", "/monitoring",
    "/monitoring/quality", "/risk",
)


def test_the_pages_fit_a_phone(browser: Browser, reader: Served) -> None:
    """Nothing is wider than the screen, and no button is out of sight at its side."""
    context = browser.new_context(base_url=reader.url, viewport={"width": 390, "height": 800})
    tab = context.new_page()
    _log_in(tab)
    for path in PAGES:
        tab.goto(path)
        overflow = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, path
        _see_that_buttons_are_in_sight(tab)
    client = openalgo.api(api_key=reader.new_key("asha", "trade"), host=reader.url)
    quote = client.quotes(symbol="INFY", exchange="NSE")["data"]["ltp"]
    resting = client.placeorder(
        strategy="phone", symbol="INFY", action="BUY", exchange="NSE", quantity=1,
        price_type="LIMIT", price=round(quote * 0.95, 1),
    )  # fmt: skip
    tab.goto("/orders")
    expect(tab.locator(f"#cancel-{resting['orderid']}")).to_be_visible()
    _see_that_buttons_are_in_sight(tab)
    context.close()


def _see_that_buttons_are_in_sight(page: Page) -> None:
    for button in page.locator("main").get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, (page.url, button)


def test_a_page_that_cannot_be_refreshed_says_so(browser: Browser, reader: Served) -> None:
    context = browser.new_context(base_url=reader.url)
    tab = context.new_page()
    _log_in(tab)
    _follow(tab, "Order book", to="/orders")
    silence = tab.get_by_text("The gateway does not answer. This page shows what was so at")
    expect(silence).to_be_hidden()
    tab.route("**/orders/rows*", lambda asked: asked.abort())
    expect(silence).to_be_visible()
    expect(silence).to_contain_text(re.compile(r"at \d\d:\d\d:\d\d IST;"))
    tab.unroute("**/orders/rows*")
    expect(silence).to_be_hidden()
    context.close()


def test_the_cookie_is_out_of_reach_of_scripts(reader: Served) -> None:
    """The flags of the session's cookie, and the headers that keep pages to themselves."""
    with httpx.Client(base_url=reader.url, trust_env=False) as http:
        token = _token(http.get("/login").text)
        answer = http.post(
            "/login", data={"csrf_token": token, "name": "asha", "password": PASSWORD}
        )
        assert answer.status_code == 302
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        page = http.get("/brokers")
        assert page.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def _token(html: str) -> str:
    return html.split('name="csrf_token" type="hidden" value="')[1].split('"')[0]
