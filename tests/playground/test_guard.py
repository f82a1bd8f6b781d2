"""The wall: who is answered. The oracle is the table of what a browser sends for an attacker's page, and what it sends for ours."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from serving import serving
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from agon.errors import UserError
from agon.locale import catalogue
from agon.playground import guard
from agon.playground.app import STATIC, create_app
from agon.playground.desk import Desk
from agon.playground.guard import LOGINS, Rules
from agon.playground.serve import launch

TOKEN, PORT = "right-token-of-this-launch", 8123
HERE, PASSWORD = f"127.0.0.1:{PORT}", "open sesame é"
PROGRAM, PAGE = {"X-Agon-Token": TOKEN}, {"Cookie": f"agon-{PORT}={TOKEN}"}


@pytest.fixture(scope="module")
def two_sides(tmp_path_factory):
    """The application as it is for this machine alone, and as it is for others: (client, rules) each."""
    made, desks = {}, []
    for name, rules in {"own": Rules(TOKEN, PORT), "shared": Rules(TOKEN, PORT, shared=True, password=PASSWORD)}.items():
        desks.append(Desk(tmp_path_factory.mktemp("guard"), most_trainings=0))
        made[name] = SimpleNamespace(rules=rules, ask=TestClient(create_app(desks[-1], rules), base_url=f"http://{HERE}", follow_redirects=False))
    yield SimpleNamespace(**made)
    for desk in desks:
        desk.close()


@pytest.fixture
def world(two_sides):
    """Both, as if nobody had asked them anything yet."""
    for side in vars(two_sides).values():
        side.rules.tries = []
        side.ask.cookies.clear()
    return two_sides


def status(side, headers, method="GET", path="/api/about") -> int:
    return side.ask.request(method, path, headers=headers).status_code


def opens(side, headers) -> bool:
    """Whether the WebSocket of the live game is accepted."""
    try:
        with side.ask.websocket_connect("/api/learn/play", headers={"Host": HERE} | headers):
            return True
    except WebSocketDisconnect:
        return False


HOSTS = {
    HERE: True, f"localhost:{PORT}": True, f"LOCALHOST:{PORT}": True, f"[::1]:{PORT}": True,
    f"127.0.0.1:{PORT + 1}": False, "127.0.0.1": False, "localhost": False, "": False, f":{PORT}": False,
    f"evil.example:{PORT}": False,  # DNS rebinding: the browser names the attacker's host, whatever address it stands for
    f"localhost.:{PORT}": False, f"127.0.0.1.:{PORT}": False, f"127.1:{PORT}": False, f"2130706433:{PORT}": False, f"0.0.0.0:{PORT}": False,
    f"localhost.evil.example:{PORT}": False, f"127.0.0.1.nip.io:{PORT}": False, f"me@127.0.0.1:{PORT}": False, f"127.0.0.1:{PORT}@evil.example": False,
    f"127.0.0.1:{PORT}, evil.example": False, f"127.0.0.1:{PORT}/": False, f"[::1]evil:{PORT}": False, f"[::ffff:127.0.0.1]:{PORT}": False,
    f"127.0.0.1:0{PORT}": False, f"127.0.0.1: {PORT}": False, f"10.0.0.5:{PORT}": False, "[": False, "[::1": False,
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_only_a_request_to_this_very_server_is_answered(world, host):
    allowed = HOSTS[host]
    assert status(world.own, PROGRAM | {"Host": host}) == (200 if allowed else 403)
    assert opens(world.own, PROGRAM | {"Host": host}) == allowed


@pytest.mark.parametrize(("host", "allowed"), [
    (f"10.0.0.5:{PORT}", True), (f"[fe80::1]:{PORT}", True), ("10.0.0.5", True), (f"evil.example:{PORT}", False), (f"10.0.0.5:{PORT + 1}", False),
    (f"10.0.0.5.nip.io:{PORT}", False), (f"1e1.0.0.5:{PORT}", False), (f"127.1:{PORT}", False),
])  # fmt: skip
def test_for_other_machines_an_address_in_numbers_is_this_server_and_a_name_is_not(world, host, allowed):
    assert status(world.shared, PROGRAM | {"Host": host}) == (200 if allowed else 403)


ORIGINS = {
    f"http://{HERE}": True, f"HTTP://{HERE}": True, f"https://{HERE}": True,
    "null": False, "": False, "http://evil.example": False, f"http://evil.example:{PORT}": False, "http://127.0.0.1": False,
    f"http://127.0.0.1:{PORT + 1}": False, f"http://localhost:{PORT}": False, f"http://127.0.0.1.evil.example:{PORT}": False,
    f"http://{HERE}@evil.example": False, f"http://evil.example@{HERE}": False, f"http://{HERE}.": False, f"http://{HERE}#": False,
    f"http://{HERE}/": False, f"http://{HERE}/x": False, f"http://{HERE}?x": False, f"ftp://{HERE}": False, f"file://{HERE}": False, HERE: False,
    f"http://{HERE}, http://evil.example": False, "http://[": False, "http://[::1": False, "http://": False, "://": False, f"http:{HERE}": False,
    f"http://10.0.0.5:{PORT}": False, "chrome-extension://abcdef": False,
}  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("sender", [PROGRAM, PAGE], ids=["program", "page"])
def test_only_pages_of_this_very_server_are_answered(world, origin, sender):
    allowed = ORIGINS[origin]
    for side in (world.own, world.shared):
        for method, path, good in (("GET", "/api/about", 200), ("POST", "/api/research/check", 422), ("DELETE", "/api/jobs/none", 404)):
            assert status(side, sender | {"Origin": origin}, method, path) == (good if allowed else 403), (method, path)
        assert opens(side, sender | {"Origin": origin}) == allowed


def test_another_machine_that_uses_the_same_port_is_another_site(world):
    assert status(world.shared, PAGE | {"Host": f"10.0.0.5:{PORT}", "Origin": f"http://10.0.0.5:{PORT}"}, "POST", "/api/research/check") == 422
    assert status(world.shared, PAGE | {"Host": f"10.0.0.5:{PORT}", "Origin": f"http://10.0.0.6:{PORT}"}, "POST", "/api/research/check") == 403


SITES = {"same-origin": True, "same-site": False, "cross-site": False, "none": False, None: False, "nonsense": False}


@pytest.mark.parametrize("site", SITES, ids=str)
def test_a_cookie_alone_changes_nothing_and_opens_no_socket(world, site):
    """A simple POST of a foreign page brings the cookie along, as does its WebSocket where a browser does not know SameSite."""
    fetch = {} if site is None else {"Sec-Fetch-Site": site}
    assert status(world.own, PAGE | fetch, "POST", "/api/research/check") == (422 if SITES[site] else 403)
    assert status(world.own, PAGE | fetch, "DELETE", "/api/jobs/none") == (404 if SITES[site] else 403)
    assert opens(world.own, PAGE | fetch) == SITES[site]


@pytest.mark.parametrize(("site", "mode", "path", "good"), [
    ("same-origin", "cors", "/api/about", True), ("none", "navigate", "/", True), (None, None, "/api/about", True),
    ("same-site", "navigate", "/", True),  # a link on a page of another port of this machine
    ("same-site", "no-cors", "/api/about", False), ("cross-site", "no-cors", "/api/about", False), ("same-site", "navigate", "/api/about", False),
    ("same-site", "no-cors", "/", False), ("cross-site", "cors", "/api/about", False),
])  # fmt: skip
def test_a_foreign_page_reads_nothing_with_the_cookie(world, site, mode, path, good):
    fetch = {name: value for name, value in (("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode)) if value}
    assert status(world.own, PAGE | fetch, path=path) == (200 if good else 403)


def test_a_program_with_the_token_need_not_say_where_it_comes_from(world):
    assert status(world.own, PROGRAM, "POST", "/api/research/check") == 422
    assert opens(world.own, PROGRAM)


KEYS = {
    "X-Agon-Token: {}": True, "x-agon-token: {}": True, "Authorization: Bearer {}": True, "Authorization: bearer {}": True, "Authorization: Bearer  {} ": True,
    "X-Agon-Token: {}x": False, "X-Agon-Token: x{}": False, "X-Agon-Token: ": False, "Authorization: Basic {}": False, "Authorization: Bearer": False,
    "Authorization: Bearer {},": False, "Cookie: agon={}": False, f"Cookie: agon-{PORT + 1}={{}}": False, f"Cookie: AGON-{PORT}={{}}": False,
    "X-Token: {}": False, "Referer: http://127.0.0.1/?token={}": False, "Proxy-Authorization: Bearer {}": False,
}  # fmt: skip


@pytest.mark.parametrize("line", KEYS)
def test_the_token_counts_in_its_places_only(world, line):
    name, _, value = line.format(TOKEN).partition(": ")
    assert status(world.own, {name: value}) == (200 if KEYS[line] else 401)
    assert opens(world.own, {name: value, "Origin": f"http://{HERE}"}) == KEYS[line]


@pytest.mark.parametrize("path", ["/api/about?token={}", "/static/icon.svg?token={}", "/openapi.json?token={}", "/{}", "/login?token={}",
                                  "/?tokens={}", "/?token={}x", "/?token=", "/?token=x&token={}"])  # fmt: skip
def test_the_token_in_an_address_opens_nothing_but_the_page(world, path):
    assert status(world.own, {}, path=path.format(TOKEN)) == 401


def test_two_tokens_never_agree(world):
    reply = world.own.ask.get("/api/about", headers=[("x-agon-token", TOKEN), ("x-agon-token", TOKEN)])
    assert reply.status_code == 401
    reply = world.own.ask.get("/api/about", headers=[("x-agon-token", TOKEN), ("origin", f"http://{HERE}"), ("origin", "http://evil.example")])
    assert reply.status_code == 403
    reply = world.own.ask.get("/api/about", headers=[("x-agon-token", "wrong"), ("cookie", PAGE["Cookie"])])
    assert reply.status_code == 401, "a program that errs is not helped by the cookie"


@pytest.mark.parametrize("cookies", [
    'theme={"dark":true}; {}', "a[1]=b c; {}", "{}; =; ;;", "x=\xe4\xf6; {}", f"agon-{PORT}=old; {{}}", f"{{}}; agon-{PORT}=planted", "a=b;{}", 'q="un;{}',
])  # fmt: skip
def test_cookies_of_other_ports_do_not_lock_the_page_out(world, cookies):
    reply = world.own.ask.get("/api/about", headers=[("cookie", cookies.replace("{}", PAGE["Cookie"]).encode("latin-1"))])
    assert reply.status_code == 200


def test_the_printed_address_sets_a_cookie_and_leaves_no_token_behind(world):
    reply = world.own.ask.get("/", params={"token": TOKEN, "lang": "zh"})
    assert reply.status_code == 303
    assert reply.headers["location"] == "/?lang=zh"
    assert reply.headers["set-cookie"] == f"agon-{PORT}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert reply.headers["cache-control"] == "no-store"
    assert TOKEN not in reply.text


@pytest.mark.parametrize("rest", ["x=%0d%0aSet-Cookie:%20a=b", "%0d%0aX-Evil:%201=1", "x=%00", "x=%E5%8D%81%ff", "x=//evil.example", "%2F%2Fevil.example=1"])
def test_nothing_in_the_address_gets_into_the_answers_head(world, rest):
    reply = world.own.ask.get(f"/?token={TOKEN}&{rest}")
    assert reply.status_code == 303
    assert re.fullmatch(r"/(\?[\w%.=&+-]*)?", reply.headers["location"])
    assert "x-evil" not in reply.headers and "a=b" not in reply.headers["set-cookie"]


def test_no_answer_may_be_framed_sniffed_or_kept(world):
    for headers in (PROGRAM, {}, PROGRAM | {"Origin": "http://evil.example"}):
        for path in ("/", "/api/about", "/static/icon.svg", "/nothing"):
            found = world.own.ask.get(path, headers=headers).headers
            assert "frame-ancestors 'none'" in found["content-security-policy"] and "unsafe" not in found["content-security-policy"]
            assert found["x-content-type-options"] == "nosniff" and found["x-frame-options"] == "DENY"
            assert found["cross-origin-resource-policy"] == "same-origin"
            assert not any(name.startswith("access-control") for name in found), "no other site may read anything"
            assert found["cache-control"] in ("no-store", "no-cache")


def test_a_preflight_is_granted_to_nobody(world):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-agon-token"}
    reply = world.own.ask.options("/api/research/check", headers=asked)
    assert reply.status_code == 403 and "access-control-allow-origin" not in reply.headers


def test_tokens_and_passwords_are_compared_in_constant_time(monkeypatch):
    """By the function that is made for it: that it was asked is what can be seen here."""
    seen = []
    monkeypatch.setattr(guard.hmac, "compare_digest", lambda a, b: seen.append((a, b)) or a == b)
    rules = Rules(TOKEN, PORT, shared=True, password=PASSWORD)
    assert rules.allowed(TOKEN) and not rules.allowed("no") and rules.opens(PASSWORD) and rules.opens("no") is False
    assert seen == [(TOKEN.encode(), TOKEN.encode()), (b"no", TOKEN.encode()), (PASSWORD.encode(), PASSWORD.encode()), (b"no", PASSWORD.encode())]


def test_two_launches_share_no_token_and_it_cannot_be_guessed(tmp_path):
    made = []
    for _ in range(2):
        desk = Desk(tmp_path)
        one = launch(desk)
        one.listener.close()
        desk.close()
        made.append(one.rules.token)
    assert made[0] != made[1] and all(len(token) >= 32 for token in made)


# --- for other machines -----------------------------------------------------------------------------------------------------------------------


def log_in(side, password, **headers):
    return side.ask.post("/login", data={"password": password}, headers=headers)


def test_the_right_password_opens_and_a_wrong_one_does_not(world):
    page = world.shared.ask.get("/")
    assert page.status_code == 401 and "<form method=post action=/login>" in page.text and TOKEN not in page.text
    for wrong in ("", "open sesame", PASSWORD + " ", "\0", "a" * 3000):
        reply = log_in(world.shared, wrong)
        assert reply.status_code == 401 and "set-cookie" not in reply.headers
    reply = log_in(world.shared, PASSWORD)
    assert reply.status_code == 303 and reply.headers["location"] == "/" and TOKEN in reply.headers["set-cookie"]
    assert status(world.shared, {"X-Agon-Token": PASSWORD.encode()}) == 401, "a password is no token"


def test_nothing_but_the_form_is_there_without_the_password(world):
    for path in ("/api/about", "/static/icon.svg", "/openapi.json", "/login"):
        assert status(world.shared, {}, path=path) == 401
    assert not opens(world.shared, {})


def test_passwords_cannot_be_tried_one_after_the_other(world, monkeypatch):
    for _ in range(LOGINS):
        assert log_in(world.shared, "wrong").status_code == 401
    reply = log_in(world.shared, PASSWORD)
    assert reply.status_code == 429 and int(reply.headers["retry-after"]) > 0
    assert status(world.shared, PROGRAM) == 200, "whoever is in stays in"
    later = guard.time.monotonic() + guard.LOGIN_SECONDS + 1
    monkeypatch.setattr(guard.time, "monotonic", lambda: later)
    assert log_in(world.shared, PASSWORD).status_code == 303


def test_a_foreign_page_cannot_log_in_and_neither_can_much_text(world):
    assert log_in(world.shared, PASSWORD, origin="http://evil.example").status_code == 403
    assert log_in(world.shared, "a" * 5000).status_code == 413
    assert not world.shared.rules.tries


def test_there_is_no_login_where_there_is_no_password(world):
    """An empty password must not be a password."""
    assert log_in(world.own, "").status_code == 401
    assert world.own.rules.opens("") is False


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1"])
def test_other_machines_are_not_let_in_without_a_password(tmp_path, host):
    desk = Desk(tmp_path)
    with pytest.raises(UserError, match="password"):
        launch(desk, host=host)
    desk.close()


# --- files and ids ------------------------------------------------------------------------------------------------------------------------------

SECRET = "agon-secret-of-the-neighbours"
CLIMBS = [
    "../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "%2e%2e%2fsecret.txt", "%252e%252e%252fsecret.txt", "..\\secret.txt", "..%5csecret.txt",
    "%2e%2e%5csecret.txt", "..%c0%afsecret.txt", "%c0%ae%c0%ae/secret.txt", "%e0%80%ae%e0%80%ae/secret.txt", "..%00/secret.txt", "secret.txt%00.png",
    "....//secret.txt", "..;/secret.txt", "./../secret.txt", "/{root}/secret.txt", "%2f{quoted}%2fsecret.txt", "file://{root}/secret.txt", "~/secret.txt",
    "js/../../secret.txt", "js/%2e%2e/%2e%2e/app.py", "../app.py", "%2e%2e/guard.py", "C:%5csecret.txt", "%uff0e%uff0e/secret.txt", "\uff0e\uff0e/secret.txt",
    "..%ef%bc%8fsecret.txt", "index.html/../../../secret.txt", "../../../../../../../../etc/passwd", "%2e%2e/" * 12 + "etc/passwd", ".", "..", "%2e", "js",
    "js/",
]  # fmt: skip
PLACES = ["/static/{}", "/api/jobs/{}", "/api/jobs/{}/result", "/api/research/runs/{}", "/api/research/runs/{}/log", "/api/research/runs/{}/samples",
          "/api/research/runs/{}/samples/1.png", "/api/research/games/{}", "/api/learn/code?objective={}", "/{}"]  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A real server, which is sent what no client library would send; secrets lie beside and above its runs."""
    root = tmp_path_factory.mktemp("traversal") / "deep" / "runs"
    (root / "js").mkdir(parents=True)
    for folder in (root, root / "js", *root.parents[:2]):
        (folder / "secret.txt").write_text(SECRET, encoding="utf-8")
    with serving(Desk(root, most_trainings=0)) as found:
        yield found


@pytest.mark.parametrize("climb", CLIMBS)
def test_no_spelling_of_a_path_leaves_its_place(real, climb):
    """What is a name is looked up in a table: no file outside it is ever opened."""
    root = real.desk.root
    climb = climb.replace("{root}", str(root)).replace("{quoted}", str(root).strip("/").replace("/", "%2f"))
    for place in PLACES:
        reply = real.ask(place.replace("{}", climb))
        assert reply.status in (400, 404, 422), (place, reply.status)
        assert SECRET.encode() not in reply.body and b"root:" not in reply.body and b"import" not in reply.body


def test_every_file_of_the_page_is_served_as_it_is(world):
    for path in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        reply = world.own.ask.get(f"/static/{path.relative_to(STATIC).as_posix()}", headers=PROGRAM)
        assert reply.content == path.read_bytes()
        again = world.own.ask.get(f"/static/{path.relative_to(STATIC).as_posix()}", headers=PROGRAM | {"If-None-Match": reply.headers["etag"]})
        assert again.status_code == 304 and not again.content


# --- languages ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "header", "chinese"), [
    ("?lang=zh", None, True), ("?lang=zh-CN", "en", True), ("", "zh-CN,zh;q=0.9,en;q=0.5", True), ("?lang=en", "zh-CN", False), ("", "de", False),
])  # fmt: skip
def test_whoever_is_refused_is_told_why_in_their_language(world, query, header, chinese):
    english = "The token of this launch is missing. Open the address that agon play printed."
    expected = catalogue("zh_CN").get(english, english) if chinese else english
    reply = world.own.ask.get("/api/about" + query, headers={} if header is None else {"Accept-Language": header})
    assert reply.json()["error"] == expected
