"""Tests of the overview page in a real browser: page.py ADDRESS CHROMIUM DIR

ADDRESS is the example server `in_memory`, started with `--sample`. Screenshots are written to DIR.
"""

import json
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

ADDRESS, CHROMIUM, DIR = sys.argv[1:]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
# 320 pixels correspond to a desktop at 400 % zoom (WCAG 2.2, 1.4.10).
NARROWEST = {"width": 320, "height": 640}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# The elements of the page. Any other element comes from unescaped text.
ELEMENTS = set(
    "html head meta title style script body header main footer section h1 h2 p dl dt dd div table thead tbody tr th td"
    " span code a meter details summary time".split()
)


def submit(name, tenant="search", **more):
    job = {"name": name, "tenant": tenant, "image": "busybox", **more}
    request = urllib.request.Request(
        f"{ADDRESS}/v1/jobs", json.dumps(job).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["id"]
    except urllib.error.HTTPError as refused:
        assert refused.code == 422, refused.read()
        return None


class Browser:
    """Chromium, and its pages. Each page records its errors."""

    def __init__(self, chromium):
        self.chromium = chromium

    @contextmanager
    def page(self, path="/", viewport=DESKTOP, prepare=lambda page: None, **options):
        context = self.chromium.new_context(viewport=viewport, **options)
        page = context.new_page()
        errors = []
        page.on("request", lambda request: request.url.startswith(ADDRESS) or errors.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.on("dialog", lambda dialog: (errors.append(dialog.message), dialog.dismiss()))
        # This includes requests that the content security policy blocked: the page must not even try them.
        page.on(
            "console",
            lambda line: line.type == "error" and errors.append(f"{line.text} {line.location['url']}"),
        )
        prepare(page)
        page.goto(ADDRESS + path)
        page.errors = errors
        try:
            yield page
            assert not errors, errors
        finally:
            context.close()


def wait_for_update(page):
    """Waits until an event has updated the page."""
    # The cost of a running job increases with each event.
    before = page.inner_text("#jobs")
    page.wait_for_function("(before) => document.getElementById('jobs').innerText !== before", arg=before)


def live(browser):
    with browser.page() as page:
        page.evaluate("window.loaded = 'once'")
        assert "arrives-later" not in page.inner_text("#jobs")
        id = submit("arrives-later")
        page.wait_for_selector(f"#job-{id}")
        page.wait_for_selector(f"#job-{id} .phase.running")
        page.wait_for_selector(f"#job-{id} .phase.succeeded", timeout=30_000)
        assert page.evaluate("window.loaded") == "once"


def user_text_is_escaped(browser):
    with browser.page() as page:
        for _ in "as loaded", "as updated":
            shown = page.inner_text("#jobs")
            for part in [
                "<script>window.owned=\"script\"</script>",
                "<img src=x onerror=\"window.owned='img'\">",
                "</td></tr></tbody></table><svg onload=",
                "\" autofocus onfocus=",
                "<a href=\"javascript:window.owned='link'\">owned</a> &lt;b&gt;owned&lt;/b&gt;",
                "<iframe srcdoc=x>",
            ]:
                assert shown.count(part) == 2, (part, shown)
            there = page.evaluate("[...document.querySelectorAll('*')].map((e) => e.localName)")
            assert set(there) <= ELEMENTS, set(there) - ELEMENTS
            handlers = "[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes]).map((a) => a.name)"
            assert not [name for name in page.evaluate(handlers) if name.startswith("on") or name == "autofocus"]
            assert page.evaluate("window.owned") is None
            assert page.title() == "Runway"
            wait_for_update(page)


def keyboard(browser):
    submit("greedy", resources={"cpu": 64})
    with browser.page() as page:
        page.wait_for_selector("#refusals summary")
        focusable = page.evaluate("[...document.querySelectorAll('a, summary')].map((e) => e.outerHTML)")
        reached = []
        for _ in focusable:
            page.keyboard.press("Tab")
            outline, text, seen, html = page.evaluate(
                """() => {
                  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
                  // The browser scrolls by whole pixels, so a fraction of one can be outside.
                  const seen = box.top > -1 && box.bottom < innerHeight + 1 && box.height > 0;
                  return [style.outlineStyle + " " + style.outlineWidth, e.innerText, seen, e.outerHTML];
                }"""
            )
            assert outline == "solid 3px", (html, outline)
            assert text.strip() and seen, html
            reached.append(html)
        assert reached == focusable, "the keyboard order differs from the document order"

        # An update preserves the focus and the open details.
        page.focus("#refusals summary")
        page.keyboard.press("Enter")
        page.wait_for_selector("#refusals details[open]")
        link = page.locator("#jobs a").first
        link.focus()
        id = page.evaluate("document.activeElement.innerText")
        wait_for_update(page)
        submit("goes-first", tenant="media")
        page.wait_for_selector("text=goes-first")
        assert page.evaluate("document.activeElement.innerText") == id
        assert page.locator("#refusals details[open]").count() == 1
        page.keyboard.press("Enter")
        page.wait_for_url(f"{ADDRESS}/v1/jobs/{id}")


def accessibility_tree(page):
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    value = lambda node, field: node.get(field, {}).get("value", "")
    return [(value(node, "role"), value(node, "name")) for node in nodes if not node["ignored"]]


def assistive_technology(browser):
    # On a phone, CSS lays out rows as cards. For assistive technology, they must remain rows.
    for viewport in DESKTOP, PHONE:
        with browser.page(viewport=viewport) as page:
            nodes = accessibility_tree(page)
            for landmark in "banner", "main", "contentinfo", "status":
                assert [role for role, _ in nodes].count(landmark) == 1, landmark
            headings = [name for role, name in nodes if role == "heading"]
            assert headings == ["Runway", "Now", "Jobs", "Tenants", "Refused in the last hour"], headings
            tables = [name for role, name in nodes if role == "table"]
            captions = ["Jobs, active jobs first", "Tenants with held resources", "Refusals by code"]
            assert tables == captions, tables
            columns = [name for role, name in nodes if role == "columnheader"]
            assert columns[:6] == ["Job", "Tenant", "Phase", "Message", "Age", "Cost, ceiling"], columns
            rows = page.locator("#jobs tr").count()
            assert rows >= 14 and [role for role, _ in nodes].count("row") >= rows + 3
            assert [role for role, _ in nodes].count("cell") >= 6 * rows
            # The symbol of a phase is hidden from assistive technology.
            assert not [name for _, name in nodes if name.strip() in list("○▶✓✗■?")]


def check_accessibility_rules(page, within):
    options = {"runOnly": {"type": "tag", "values": RULES}}
    # Axe cannot check the contrast of single symbols.
    found = Axe().run(page, {"include": [within], "exclude": ["[aria-hidden]"]}, options)
    assert not found.response["violations"], found.generate_report()
    passed = [rule["id"] for rule in found.response["passes"]]
    # The contrast of each text is checked: 4.5 to 1, and 3 to 1 for large text.
    assert "color-contrast" in passed, passed
    unsure = [rule for rule in found.response["incomplete"] if rule["id"] == "color-contrast"]
    assert not unsure, [node["html"] for rule in unsure for node in rule["nodes"]]


def accessibility_rules(browser):
    for path in "/", "/docs":
        for viewport in DESKTOP, PHONE:
            for scheme in "light", "dark":
                with browser.page(path, viewport, color_scheme=scheme) as page:
                    # Closed details have no color.
                    page.evaluate("document.querySelectorAll('details').forEach((e) => (e.open = true))")
                    check_accessibility_rules(page, "html")


def narrow(browser):
    for path in "/", "/docs":
        for viewport in PHONE, NARROWEST:
            with browser.page(path, viewport) as page:
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= viewport["width"], f"{path}: {width} pixels at {viewport['width']}"


def light_and_dark(browser):
    shades = []
    for scheme in "light", "dark":
        for name, viewport in ("desktop", DESKTOP), ("phone", PHONE):
            with browser.page(viewport=viewport, color_scheme=scheme) as page:
                page.screenshot(path=Path(DIR) / f"{name}-{scheme}.png", full_page=True)
                shades.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert shades == ["rgb(255, 255, 255)"] * 2 + ["rgb(15, 18, 22)"] * 2, shades


def without_script(browser):
    with browser.page(java_script_enabled=False) as page:
        assert "train-ranker" in page.inner_text("#jobs")


def without_server(browser):
    block = lambda page: page.route("**/overview/events", lambda route: route.abort())
    for scheme in "light", "dark":
        with browser.page(prepare=block, color_scheme=scheme) as page:
            page.wait_for_selector("text=The server does not respond.")
            # The outage is marked by a sign and a color, in the title, and with the time of the last update.
            assert page.inner_text("#outage").startswith("⚠"), page.inner_text("#outage")
            color_of = lambda selector: page.evaluate(
                "(selector) => getComputedStyle(document.querySelector(selector)).color", selector
            )
            assert color_of("#outage") == color_of(".phase.failed") != color_of("body")
            assert page.title() == "⚠ No response – Runway", page.title()
            assert page.is_hidden("#state")
            assert page.evaluate("getComputedStyle(document.querySelector('main')).filter") == "grayscale(1)"
            last_update = page.get_attribute("#outage time", "datetime").replace("Z", "+00:00")
            age = datetime.now(timezone.utc) - datetime.fromisoformat(last_update)
            assert 0 <= age.total_seconds() < 60, age
            assert page.inner_text("#outage time").strip()
            assert "alert" in [role for role, _ in accessibility_tree(page)]
            check_accessibility_rules(page, "header")
            assert "train-ranker" in page.inner_text("#jobs")
            # The page recovers by itself.
            page.unroute("**/overview/events")
            assert_recovered(page)


def rejected_stream(browser):
    """The browser does not reconnect after an error response, so the script must."""
    rejections = [503]

    def answer(route):
        if rejections:
            route.fulfill(status=rejections.pop())
        else:
            route.continue_()

    with browser.page(prepare=lambda page: page.route("**/overview/events", answer)) as page:
        page.wait_for_selector("text=The server does not respond.")
        assert_recovered(page)


def assert_recovered(page):
    page.wait_for_selector("#outage", state="hidden", timeout=30_000)
    assert page.title() == "Runway", page.title()
    assert page.is_visible("#state")
    assert page.evaluate("getComputedStyle(document.querySelector('main')).filter") == "none"
    # The failed requests are in the console.
    page.errors.clear()


def icon(browser):
    with browser.page() as page:
        answer = page.request.get(f"{ADDRESS}/favicon.ico")
        assert answer.ok, answer.status
        # The browser must be able to decode the icon.
        page.goto(f"{ADDRESS}/favicon.ico")
        assert page.evaluate("document.images[0].naturalWidth") == 16


CHECKS = [
    live,
    user_text_is_escaped,
    keyboard,
    assistive_technology,
    accessibility_rules,
    narrow,
    light_and_dark,
    without_script,
    without_server,
    rejected_stream,
    icon,
]

with sync_playwright() as playwright:
    # In a container, the tests run as root, and Chromium's sandbox does not start as root.
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
    failures = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            check(Browser(chromium))
            print(f"ok: {name}")
        except Exception as error:  # report each failed check
            failures += 1
            print(f"failed: {name}: {error or repr(error)}", file=sys.stderr)
    chromium.close()
    sys.exit(1 if failures else 0)
