"""A page on this machine: a picture goes in, its translation appears beside it.

Only this machine can reach it: the server listens on the loopback address, answers to its own name alone (no other site can be pointed at it) and to who has
the token of this launch, which the printed address carries. The page is one file and asks nothing of the outside. One picture is worked on at a time.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from agon.data.inputs import is_recipe
from agon.data.pictures import BadPicture
from agon.errors import UserError
from agon.locale import language, translate
from agon.translation.files import as_file
from agon.translation.translator import Translator, Wishes

if TYPE_CHECKING:
    from agon.run import Run

MOST_BYTES = 32 << 20
MAX_SIDE = 1024
"""Larger pictures are reduced: whoever plays does not want to wait."""
AT_ONCE, PATIENCE = 2, 30
"""Pictures that may be on their way in together, and seconds that a connection may be silent."""

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
#drop{border:2px dashed #888;border-radius:.6rem;padding:2rem;text-align:center}#drop.over{border-color:#d64933}
#pair{display:flex;gap:1rem;flex-wrap:wrap;margin-top:1rem}figure{flex:1 1 20rem;margin:0}img{max-width:100%;min-width:12rem;image-rendering:auto}
label{margin-right:1rem}#say{min-height:1.5em}"""
SCRIPT = """const $=id=>document.getElementById(id),drop=$('drop'),file=$('file');let last=null;
async function go(given){if(!given)return;last=given;$('before').src=URL.createObjectURL(given);$('say').textContent=drop.dataset.busy;
const query=new URLSearchParams();for(const name of ['class','direction','derive','seed']){const at=$(name);
if(at)query.set(name,at.type==='checkbox'?(at.checked?'1':''):at.value)}
try{const answer=await fetch('/translate?'+query,{method:'POST',body:given,headers:{'X-Token':drop.dataset.token}});
if(!answer.ok){$('say').textContent=(await answer.json()).error;return}
$('after').src=URL.createObjectURL(await answer.blob());$('say').textContent=''}catch(error){$('say').textContent=String(error)}}
file.addEventListener('change',()=>go(file.files[0]));
for(const name of ['class','direction','derive','seed'])if($(name))$(name).addEventListener('change',()=>go(last));
document.addEventListener('dragover',event=>{event.preventDefault();drop.classList.add('over')});
document.addEventListener('dragleave',()=>drop.classList.remove('over'));
document.addEventListener('drop',event=>{event.preventDefault();drop.classList.remove('over');go(event.dataTransfer.files[0])});"""


class Playground(ThreadingHTTPServer):
    """The server of one run; ``address`` is what to open. ``port`` 0: any that is free. Raises UserError for a run that translates nothing."""

    daemon_threads = True

    def __init__(self, run: Run, port: int = 0):
        Translator(run)  # a run that cannot be played is refused here
        self.run, self.token, self.nonce = run, secrets.token_urlsafe(24), secrets.token_urlsafe(12)
        self.working, self.coming = threading.Lock(), threading.BoundedSemaphore(AT_ONCE)
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"

    def translated(self, data: bytes, query: dict[str, str]) -> bytes:
        """A picture file -> PNG, as the page's fields ask. Raises BadPicture and UserError."""
        wishes = Wishes(int(query.get("seed") or 0) % (1 << 31), query.get("direction"), query.get("class"), bool(query.get("derive")), max_side=MAX_SIDE)
        with self.working:
            translator = Translator(self.run, wishes)
            given = translator.open(data)
            return as_file(translator.finish(translator(given.source)[0], given), ".png")

    def page(self) -> str:
        """The one page."""
        title, game = f"{self.run.config['game']} · {self.run.config['data']['name']}", self.run.game
        fields = [_choice("class", translate("Class"), self.classes())] if self.classes() else []
        fields += [_choice("direction", translate("Direction"), list(game.directions))] if len(game.directions) > 1 else []
        if is_recipe(str(self.run.config["data"]["options"].get("input", ""))):
            fields.append(f"<label><input type=checkbox id=derive> {escape(translate('a photograph: make the input of it first'))}</label>")
        fields.append(f"<label>{escape(translate('Seed'))} <input type=number id=seed value=0 min=0 max=999999></label>")
        return (
            f"<!doctype html><html lang={language()[:2]}><meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
            f"<style nonce={self.nonce}>{STYLE}</style><h1>{escape(title)}</h1><p>{''.join(fields)}</p>"
            f"<div id=drop data-token='{self.token}' data-busy='{escape(translate('Translating ...'), quote=True)}'>"
            f"<p>{escape(translate('Drop a picture anywhere, or choose one:'))}</p><input type=file id=file accept='image/*'></div><p id=say role=status></p>"
            f"<div id=pair><figure><img id=before alt=''><figcaption>{escape(translate('Input'))}</figcaption></figure>"
            f"<figure><img id=after alt=''><figcaption>{escape(translate('Output'))}</figcaption></figure></div><script nonce={self.nonce}>{SCRIPT}</script>"
        )

    def classes(self) -> list[str]:
        spec = self.run.spec
        if spec.num_classes and self.run.game.takes_labels:
            return list(spec.class_names) or [str(number) for number in range(spec.num_classes)]
        return list(spec.condition_names) if not spec.num_classes else []


def _choice(name: str, title: str, values: list[str]) -> str:
    options = "".join(f"<option value='{escape(value, quote=True)}'>{escape(value)}</option>" for value in values)
    return f"<label>{escape(title)} <select id={name}>{options}</select></label>"


class Handler(BaseHTTPRequestHandler):
    """GET / gives the page, POST /translate a PNG, anything else nothing."""

    server: Playground
    timeout = PATIENCE
    server_version, sys_version = "agon", ""

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        if self._known() and self._allowed(parse_qs(place.query).get("token", [""])[0]):
            if place.path == "/":
                self._answer(200, self.server.page().encode(), "text/html; charset=utf-8")
            else:
                self._refuse(404, translate("There is nothing here."))

    def do_POST(self) -> None:
        if not (self._known() and self._allowed(self.headers.get("X-Token", ""))):
            return
        length = self.headers.get("Content-Length", "")
        if urlsplit(self.path).path != "/translate" or not length.isdecimal():
            return self._refuse(404, translate("There is nothing here."))
        if int(length) > MOST_BYTES:
            return self._refuse(413, translate("The picture is larger than 32 MB. Make it smaller."))
        if not self.server.coming.acquire(blocking=False):
            return self._refuse(503, translate("Still at work on the last pictures. Try again in a moment."))
        try:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            self._answer(200, self.server.translated(self.rfile.read(int(length)), query), "image/png")
        except (BadPicture, UserError, ValueError) as error:
            self._refuse(400, " ".join(str(error).split()))
        except OSError:  # the browser went away
            self.close_connection = True
        finally:
            self.server.coming.release()

    def _known(self) -> bool:
        """Whether the request was meant for this server: a name that another site has pointed at this machine is refused."""
        if self.headers.get("Host", "") in {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}:
            return True
        self._refuse(403, translate("Only this machine is answered."))
        return False

    def _allowed(self, token: str) -> bool:
        if hmac.compare_digest(token.encode(), self.server.token.encode()):
            return True
        self._refuse(403, translate("The token of this launch is missing. Open the address that agon play printed."))
        return False

    def _refuse(self, code: int, why: str) -> None:
        self.close_connection = True  # what was not read cannot be mistaken for a request
        self._answer(code, json.dumps({"error": why}, ensure_ascii=False).encode(), "application/json")

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        policy = f"default-src 'none'; img-src blob:; connect-src 'self'; style-src 'nonce-{self.server.nonce}'; script-src 'nonce-{self.server.nonce}'"
        self.send_response(code)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Content-Security-Policy", policy), ("Cache-Control", "no-store"),
                            ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is the user's."""
