"""The WebSocket of the live game, spoken as a page speaks it and as nobody should. The oracles are hashes of the players and the protocol's own words."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import struct
import threading
import time

import numpy as np
import pytest
from serving import LONG, serving, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from agon.locale import catalogue
from agon.playground import serve
from agon.playground.desk import Desk
from agon.playground.learn import live
from agon.playground.learn.arena import MOST_STEPS, Arena
from agon.playground.learn.choices import OBJECTIVES
from agon.playground.routes import learn
from agon.playground.routes.learn import MOST_LEARNERS

SMALL = {"batch": 16, "generator_width": 8, "generator_depth": 1, "discriminator_width": 8, "discriminator_depth": 1}
LARGE = {"batch": 512, "generator_width": 128, "generator_depth": 4, "discriminator_width": 128, "discriminator_depth": 4}


class Player:
    """A page: it reads, and acknowledges what it reads unless ``acks`` is off."""

    def __init__(self, served, query: str = ""):
        address = f"ws://127.0.0.1:{served.port}/api/learn/play{query}"
        self.held = contextlib.ExitStack()
        opening = connect(address, additional_headers={"X-Agon-Token": served.token}, max_size=None, open_timeout=LONG, close_timeout=1)
        self.socket = self.held.enter_context(opening)
        self.acks, self.frames, self.header = True, [], {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.held.close()

    def say(self, do: str, **more) -> None:
        self.socket.send(json.dumps({"do": do, **more}))

    def hear(self, seconds: float = LONG):
        """The next message: a dictionary, or a frame's header."""
        message = self.socket.recv(timeout=seconds)
        if isinstance(message, str):
            return json.loads(message)
        (size,) = struct.unpack("<I", message[:4])
        self.header, self.payload = json.loads(message[4 : 4 + size]), message[4 + size :]
        self.frames.append(self.header)
        if self.acks:
            with contextlib.suppress(ConnectionClosed):  # what was said before the end is still to be read
                self.say("ack", frame=self.header["frame"])
        return self.header

    def wait(self, kind: str, where=lambda message: True):
        """The next message of a kind, whatever comes before it. Raises for an error that was not waited for."""
        while True:
            message = self.hear()
            if message["type"] == kind and where(message):
                return message
            assert kind == "error" or message["type"] not in ("error", "closed"), message

    def open(self, *stages, shared=SMALL, course=()):
        self.say("open", shared=shared, stages=list(stages or ({},)), course=list(course))
        return self.wait("opened")

    def hash(self):
        """(step, the hashes of every stage)."""
        self.say("hash")
        found = self.wait("hash")
        return found["step"], found["stages"]

    def go(self, *course):
        for who, times in course:
            self.say("step", who=who, times=times)
        return self.hash()


def games() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "agon-live"]


@pytest.fixture(scope="module")
def one_server(tmp_path_factory):
    with serving(Desk(tmp_path_factory.mktemp("live"), most_trainings=0)) as found:
        yield found


@pytest.fixture
def server(one_server):
    """The games of other tests have ended before, and those of this one end after it."""
    until(lambda: not games())
    yield one_server
    until(lambda: not games())


# --- the game -------------------------------------------------------------------------------------------------------------------------------------


def test_stages_begin_alike_whatever_their_objective(server):
    with Player(server) as player:
        for four in (OBJECTIVES[:4], OBJECTIVES[3:]):
            opened = player.open(*({"objective": each.id} for each in four))
            hashes = [stage["hash"] for stage in opened["stages"]]
            assert hashes == [hashes[0]] * 4
            assert [stage["objective"] for stage in opened["stages"]] == [each.id for each in four]
            assert player.hash() == (0, hashes)


@pytest.mark.parametrize("objective", [each.id for each in OBJECTIVES])
def test_a_players_turn_changes_that_player_alone(server, objective):
    with Player(server) as player:
        player.open({"objective": objective})
        _, (before,) = player.hash()
        for who, moved, still in (("d", "discriminator", "generator"), ("g", "generator", "discriminator")):
            step, (after,) = player.go((who, 1))
            assert after[still] == before[still] and after[moved] != before[moved], who
            before = after
        step, (after,) = player.go(("b", 1))
        assert step == 3 and all(after[name] != before[name] for name in after)


def test_looking_changes_nothing(server):
    """A game that is measured, drawn in every layer and asked for hashes goes the way of one that is not."""
    with Player(server) as player:
        player.open()
        player.say("layers", names=["heat", "manifold", "gradients"])
        for _ in range(10):
            player.say("step", who="b", times=1)
            player.wait("frame")
            player.hash()
        watched = player.hash()
        player.open()
        assert player.go(("b", 10)) == watched


COURSE = [("b", 20), ("d", 5), ("g", 3), ("b", 30), ("d", 1), ("g", 1)]


def test_scrubbing_gives_back_every_moment(server):
    """In any order, across the snapshots that are kept, and again after the newest has been gone back to."""
    with Player(server) as player:
        player.open({"objective": "non_saturating"}, {"objective": "wgan_gp", "optimizer": "rmsprop"})
        moments = dict([player.hash()])
        for who, times in COURSE:
            for _ in range(times):
                step, hashes = player.go((who, 1))
                moments[step] = hashes
        assert len(moments) == 61 and len({json.dumps(each) for each in moments.values()}) == 61
        for step in (0, 60, 17, 15, 16, 59, 1, 31, 33, 60, 48):
            player.say("seek", step=step)
            assert player.hash() == (step, moments[step])
        player.say("seek", step=1000)
        assert player.hash() == (60, moments[60])


def test_stepping_on_from_an_earlier_moment_forgets_the_later_ones(server):
    with Player(server) as player:
        player.open()
        player.go(("b", 40))
        player.say("seek", step=10)
        branch = player.go(("d", 5))
        frame = player.wait("frame", lambda header: header["step"] == 15)
        assert frame["newest"] == 15 and frame["course"] == [["b", 10], ["d", 5]]
        player.open()
        assert player.go(("b", 10), ("d", 5)) == branch


def test_a_seek_between_other_orders_is_not_skipped(server):
    """Of seeks in a row only the last counts; one that something else follows does count."""
    with Player(server) as player:
        player.open()
        player.go(("b", 20))
        for order in ({"do": "seek", "step": 3}, {"do": "seek", "step": 5}, {"do": "hash"}, {"do": "seek", "step": 8}, {"do": "step", "who": "d"},
                      {"do": "seek", "step": 9}, {"do": "hash"}):  # fmt: skip
            player.socket.send(json.dumps(order))
        assert player.wait("hash")["step"] == 5
        assert player.wait("hash")["step"] == 9
        player.socket.send(json.dumps({"do": "layers", "names": []}))  # a frame from here on, whether or not one went before the hash
        assert player.wait("frame", lambda header: header["step"] == 9)["course"] == [["b", 8], ["d", 1]]


def test_the_same_course_leads_to_the_same_players_on_another_page_and_all_at_once(server):
    ends = []
    with Player(server) as one, Player(server) as other:
        for player in (one, other):
            player.open({"objective": "hinge", "instance_noise": 0.1}, {"objective": "r3gan"}, shared=SMALL | {"seed": 7})
            ends.append(player.go(*COURSE))
        other.open({"objective": "hinge", "instance_noise": 0.1}, {"objective": "r3gan"}, shared=SMALL | {"seed": 7}, course=COURSE)
        ends.append(other.hash())
        other.open({"objective": "hinge", "instance_noise": 0.1}, {"objective": "r3gan"}, shared=SMALL | {"seed": 8}, course=COURSE)
        elsewhere = other.hash()
    assert ends == [ends[0]] * 3
    assert elsewhere[0] == 60 and elsewhere[1] != ends[0][1]


def test_played_and_stepped_are_the_same_game(server):
    with Player(server) as player:
        player.open()
        player.say("play", speed=0)
        player.wait("frame", lambda header: header["step"] >= 25)
        player.say("pause")
        step, hashes = player.hash()
        time.sleep(0.1)
        assert player.hash() == (step, hashes), "a game that is paused stands still"
        player.open(course=[("b", step)])
        assert player.hash() == (step, hashes)


def test_a_game_that_bursts_says_so_and_goes_on(server):
    """Losses that are no numbers: shown as gaps, with the reason in words; the other stage plays on, scrubbing works, a new game can be opened."""
    wild = {"objective": "wasserstein_clip", "generator_lr": 0.1, "discriminator_lr": 0.1, "weight_clip": 0, "critic_steps": 10, "optimizer": "sgd"}
    with Player(server) as player:
        player.open(wild, {"objective": "r3gan"}, shared=SMALL | {"generator_depth": 4, "discriminator_depth": 4, "generator_width": 64})
        start = player.hash()
        player.say("layers", names=["heat", "manifold", "gradients"])
        step = 0
        while not player.header.get("stages", [{}])[0].get("failure"):
            step += 40
            assert step < 3000, "this game was meant to burst"
            player.say("step", who="b", times=40)
            player.wait("frame", lambda header, step=step: header["step"] == step)
        broken, sound = player.header["stages"]
        assert broken["failure"] and not sound["failure"]
        assert broken["narration"]["template"] and math.isfinite(sound["numbers"]["d_loss"])
        step, hashes = player.go(("b", 5))
        assert hashes[0] == player.go(("b", 5))[1][0], "a stage that has burst stands still"
        assert hashes[1] != player.hash()[1][1]
        player.say("seek", step=0)
        assert player.hash() == start
        assert player.open()["type"] == "opened"


def test_a_frame_is_what_the_protocol_says(server):
    with Player(server) as player:
        player.say("layers", names=["heat", "manifold", "gradients"])
        opened = player.open({"objective": "minimax"}, {"objective": "wgan_gp"}, shared=SMALL | {"latent_dim": 1})
        first = player.wait("frame")
        assert len(player.payload) % 4 == 0
        sizes = []
        for stage in first["stages"]:
            arrays = {name: np.frombuffer(player.payload, "<f4", math.prod(place["shape"]), place["at"]).reshape(place["shape"])
                      for name, place in stage["arrays"].items()}  # fmt: skip
            shapes = {"fake": (400, 2), "heat": (48, 48), "manifold": (65, 2), "gradients": (80, 4)}
            assert {name: array.shape for name, array in arrays.items()} == shapes
            assert all(np.isfinite(array).all() for array in arrays.values())
            assert arrays["heat"].min() >= 0 and arrays["heat"].max() <= 1
            np.testing.assert_array_equal(arrays["gradients"][:, :2], arrays["fake"][:80])
            sizes.append(sum(array.nbytes for array in arrays.values()))
        real = first["shared"]["arrays"]["real"]
        points = np.frombuffer(player.payload, "<f4", 1200, real["at"]).reshape(600, 2)
        left, bottom, right, top = opened["bounds"]
        assert (points >= (left, bottom)).all() and (points <= (right, top)).all()
        assert len(player.payload) == sum(sizes) + points.nbytes
        player.say("layers", names=[])
        player.say("step", who="b")
        second = player.wait("frame", lambda header: header["step"] == 1)
        assert second["shared"] == {} and all(set(stage["arrays"]) == {"fake"} for stage in second["stages"])
        assert second["frame"] > first["frame"]


def test_every_point_of_the_curves_is_sent_once_and_all_again_after_a_seek(server):
    with Player(server) as player:
        player.open()
        curve = []
        for step in range(1, 12):
            player.say("step", who="b")
            player.wait("frame", lambda header, step=step: header["step"] == step)
        for frame in player.frames:
            stage = frame["stages"][0]
            curve = curve[: stage["curve_from"]] + stage["curve"]
        assert [row[0] for row in curve] == list(range(12))
        assert sum(len(frame["stages"][0]["curve"]) for frame in player.frames) == 12
        player.say("seek", step=4)
        player.wait("frame", lambda header: header["step"] == 4)
        player.say("step", who="d")
        stage = player.wait("frame", lambda header: header["step"] == 5)["stages"][0]
        curve = curve[: stage["curve_from"]] + stage["curve"]
        assert [row[0] for row in curve] == list(range(6))


# --- what nobody should say -----------------------------------------------------------------------------------------------------------------------

NONSENSE = [
    "", "{", "null", "[]", "7", '"open"', "{}", '{"do":"dance"}', '{"do":null}', '{"do":["open"]}', "\0", "\u202e", '{"do":"hash"}{"do":"hash"}',
    '{"do":"step"}', '{"do":"step","who":"x"}', '{"do":"step","who":"b","times":0}', '{"do":"step","who":"b","times":-5}',
    '{"do":"step","who":"b","times":1001}', '{"do":"step","who":"b","times":1.5}', '{"do":"step","who":"b","times":1e400}',
    '{"do":"step","who":"b","times":' + "9" * 5000 + "}", '{"do":"step","who":"b","more":1}', '{"do":"seek","step":-1}', '{"do":"seek","step":100001}',
    '{"do":"seek"}', '{"do":"seek","step":"three"}', '{"do":"play","speed":-1}', '{"do":"play","speed":1001}', '{"do":"play","speed":NaN}',
    '{"do":"play","speed":Infinity}', '{"do":"layers","names":["heat","heat","heat","heat"]}', '{"do":"layers","names":["skeleton"]}',
    '{"do":"layers","names":"heat"}', '{"do":"ack","frame":-1}', '{"do":"ack"}', '{"do":"open"}', '{"do":"open","stages":[]}',
    '{"do":"open","stages":[{},{},{},{},{}]}', '{"do":"open","stages":[{"objective":"x"}]}', '{"do":"open","stages":[{"generator_lr":0}]}',
    '{"do":"open","stages":[{"generator_lr":NaN}]}', '{"do":"open","stages":[{}],"shared":{"data":"/etc/passwd"}}',
    '{"do":"open","stages":[{}],"shared":{"generator_width":100000}}', '{"do":"open","stages":[{}],"shared":{"seed":-1}}',
    '{"do":"open","stages":[{}],"shared":{"data":"drawn"}}', '{"do":"open","stages":[{}],"shared":{"data":"csv","points":[[0,0],[1]]}}',
    '{"do":"open","stages":[{}],"shared":{"data":"csv","points":[[0,NaN]]}}',
    '{"do":"open","stages":[{}],"shared":{"data":"drawn","points":' + json.dumps([[1, 1]] * 50) + "}}",
    '{"do":"open","stages":[{}],"shared":{"data":"drawn","points":' + json.dumps([[index, 1] for index in range(5001)]) + "}}",
    '{"do":"open","stages":[{}],"course":[["b",100001]]}', '{"do":"open","stages":[{}],"course":[["x",1]]}', '{"do":"open","stages":[{}],"course":[["b"]]}',
    '{"do":"open","stages":[{}],"course":' + json.dumps([["b", 1], ["d", 1]] * 251) + "}",
    '{"do":"open","stages":[{}],"course":' + json.dumps([["b", MOST_STEPS], ["b", 1]]) + "}",
    "[" * 50_000, '{"do":' * 20_000, '{"a":"' + "x" * 500_000 + '"}', b"\xff\xfe", b"\0" * 100, b'{"do":"dance"}', b"\x80\x04cos\nsystem\n",
]  # fmt: skip


def test_nonsense_is_answered_in_words_and_changes_nothing(server):
    with Player(server) as player:
        player.open()
        before = player.go(("b", 3))
        for order in NONSENSE:
            player.socket.send(order)
            error = player.wait("error")["error"]
            assert 8 < len(error) < 400 and "Traceback" not in error, order[:60]
            assert player.hash() == before, order[:60]


def test_orders_before_a_game_are_refused_in_words(server):
    with Player(server) as player:
        for order in ({"do": "step", "who": "b"}, {"do": "seek", "step": 1}, {"do": "play"}, {"do": "pause"}, {"do": "hash"}):
            player.socket.send(json.dumps(order))
            assert "Open one first" in player.wait("error")["error"]
        player.say("ack", frame=5)
        player.say("layers", names=["heat"])
        assert player.open()["type"] == "opened"


def test_what_is_refused_is_said_in_the_pages_language(server):
    template = "There is no game yet. Open one first."
    with Player(server, "?lang=zh") as player:
        player.say("hash")
        assert player.wait("error")["error"] == catalogue("zh_CN").get(template, template)


def test_a_message_that_is_too_large_ends_the_game(server):
    with Player(server) as player:
        player.open()
        with pytest.raises(ConnectionClosed):
            player.socket.send('{"do":"hash"' + " " * (2 << 20) + "}")
            while True:
                player.hear()
        assert player.socket.close_code == 1009


def test_text_that_is_no_text_ends_the_game(server):
    with Player(server) as player:
        player.open()
        with pytest.raises(ConnectionClosed):
            player.socket.send(b"\xff\xfe", text=True)
            while True:
                player.hear()


def test_a_flood_of_orders_is_carried_out_whole_and_in_order(server, monkeypatch):
    """Many more than the line holds: the rest waits on the page's side, none is lost."""
    monkeypatch.setattr(live, "MOST_ORDERS", 4)
    with Player(server) as player:
        player.open()
        reader = []

        def read():
            while len(reader) < 12:
                message = player.hear()
                if message["type"] == "hash":
                    reader.append(message["step"])

        thread = threading.Thread(target=read)
        thread.start()
        for index in range(120):
            player.say("step", who="bdg"[index % 3])
            if index % 10 == 9:
                player.say("hash")
        thread.join(LONG)
        assert reader == list(range(10, 121, 10))


def test_a_page_that_acknowledges_nothing_gets_two_frames_and_the_game_goes_on(server):
    with Player(server) as player:
        player.open()
        player.acks = False
        player.say("play", speed=0)
        until(lambda: player.hash()[0] > 20)
        step, _ = player.hash()
        until(lambda: player.hash()[0] > step + 20)
        assert len(player.frames) <= 3, "one acknowledged, two under way"
        last = player.frames[-1]["frame"]
        player.say("ack", frame=10**9)  # of frames that were never sent
        frame = player.wait("frame")
        assert frame["frame"] == last + 1 and frame["step"] >= step, "what it gets next is the present, not a backlog"


def test_a_course_that_is_too_long_to_remember_ends_in_words(server, monkeypatch):
    monkeypatch.setattr("agon.playground.learn.arena.MOST_STEPS", 50)
    with Player(server) as player:
        player.open()
        player.say("play", speed=0)
        assert "50" in player.wait("error")["error"]
        assert player.hash()[0] == 50
        player.say("seek", step=10)
        assert player.go(("b", 1))[0] == 11


# --- coming and going -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abrupt", [False, True])
def test_the_thread_is_gone_after_the_page(server, abrupt):
    player = Player(server)
    player.open()
    player.say("play", speed=0)
    player.wait("frame", lambda header: header["step"] > 3)
    assert len(games()) == 1
    if abrupt:
        player.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        player.socket.socket.close()  # a reset, and no word of goodbye
    else:
        player.close()
    until(lambda: not games())


@pytest.mark.parametrize("orders", [0, 400])
def test_who_leaves_in_the_middle_of_a_long_course_is_not_worked_for(server, orders, monkeypatch):
    """Minutes of work, ended at once; also when so much more was ordered that the line is full."""
    monkeypatch.setattr(learn, "PATIENCE_SECONDS", 0.2)
    player = Player(server)
    player.open(*({"critic_steps": 10},) * 4, shared=LARGE, course=[("b", 20_000)])
    for _ in range(orders):
        player.say("step", who="b", times=1000)
    time.sleep(0.3)
    assert len(games()) == 1
    player.close()
    until(lambda: not games(), 10)


def test_a_ninth_learner_is_told_so_and_has_a_place_once_another_leaves(server):
    players = [Player(server) for _ in range(MOST_LEARNERS)]
    try:
        until(lambda: len(games()) == MOST_LEARNERS)
        with Player(server) as ninth:
            closed = ninth.hear()
            assert closed["type"] == "closed" and closed["error"]
            with pytest.raises(ConnectionClosed):
                ninth.hear()
        assert len(games()) == MOST_LEARNERS
        assert players[3].open()["type"] == "opened"
        players.pop().close()
        until(lambda: len(games()) == MOST_LEARNERS - 1)
        players.append(Player(server))
        assert players[-1].open()["type"] == "opened"
    finally:
        for player in players:
            player.close()


def test_who_comes_and_goes_and_comes_leaves_nothing_behind(server):
    for index in range(30):
        with Player(server) as player:
            if index % 3:
                player.say("open", shared=SMALL, stages=[{}], course=[["b", 50]])
            if index % 3 == 2:
                player.hear()
    until(lambda: not games() and server.connections == 0)


def frame(content: bytes, opcode: int) -> bytes:
    """A WebSocket frame as a client sends it, masked with zeros."""
    size = bytes([0x80 | len(content)]) if len(content) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(content))
    return bytes([0x80 | opcode]) + size + bytes(4) + content


def handshake(server, buffer: int) -> socket.socket:
    plug = server.connect(buffer=buffer)
    plug.sendall(server.head("/api/learn/play", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                             "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="))  # fmt: skip
    assert plug.recv(12) == b"HTTP/1.1 101"
    return plug


PING, TEXT = frame(b"p" * 120, 9), frame(b"nonsense", 1)


@pytest.mark.parametrize("content", [PING, TEXT, TEXT + PING * 20], ids=["pings", "texts", "both"])
def test_who_asks_and_takes_no_answer_is_dropped(tmp_path, monkeypatch, content):
    """Pings are answered by the protocol itself, past every other bound."""
    monkeypatch.setattr(serve.Deadline, "stalled", 2.0)
    until(lambda: not games())
    with serving(Desk(tmp_path, most_trainings=0)) as server:
        plug, sent, many = handshake(server, 2048), 0, content * max(1, (1 << 16) // len(content))
        plug.settimeout(1.0)
        unsent = 0
        with contextlib.suppress(OSError):
            while sent < 256 << 20:
                plug.sendall(many)
                sent += len(many)
                unsent = max(unsent, *(each.transport.get_write_buffer_size() for each in list(server.launch.server.server_state.connections)), 0)
        assert sent < 256 << 20
        assert unsent < 1 << 20, "what it does not take piles up"
        until(lambda: not games() and server.connections == 0)
        assert server.ask().status == 200
        plug.close()


def test_a_page_that_is_gone_without_a_word_is_noticed(tmp_path, monkeypatch):
    """A machine that was switched off answers no ping; what is still to be sent to it does not keep its game alive."""
    until(lambda: not games())
    with serving(Desk(tmp_path, most_trainings=0)) as server:
        server.launch.server.config.ws_ping_interval, server.launch.server.config.ws_ping_timeout = 0.2, 0.3
        server.launch.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that what it does not take stays with us
        plug = handshake(server, 2048)
        plug.sendall(frame(json.dumps({"do": "open", "shared": SMALL, "stages": [{}]}).encode(), 1) + frame(b'{"do":"hash"}', 1) * 60)
        until(lambda: any(each.transport.get_write_buffer_size() for each in list(server.launch.server.server_state.connections)))
        until(lambda: not games() and server.connections == 0)
        plug.close()


def test_a_fault_of_ours_ends_the_game_in_words(server, monkeypatch, capfd):
    def broken(self, who):
        raise RuntimeError("a secret of ours")

    with Player(server) as player:
        player.open()
        monkeypatch.setattr(Arena, "move", broken)
        player.say("step", who="b")
        while (closed := player.hear())["type"] != "closed":
            pass
        assert "RuntimeError" in closed["error"] and "secret" not in closed["error"]
        with pytest.raises(ConnectionClosed):
            player.hear()
    assert "a secret of ours" in capfd.readouterr().err


@pytest.mark.parametrize("headers", [
    {}, {"X-Agon-Token": "wrong"}, {"X-Agon-Token": "{token}", "Origin": "http://evil.example"}, {"Cookie": "agon-{port}={token}"},
    {"Cookie": "agon-{port}={token}", "Origin": "null"}, {"Cookie": "agon-{port}={token}", "Origin": "http://127.0.0.1:1"},
], ids=str)  # fmt: skip
def test_another_sites_socket_is_not_opened(server, headers):
    filled = {name: value.format(token=server.token, port=server.port) for name, value in headers.items()}
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://127.0.0.1:{server.port}/api/learn/play", additional_headers=filled, open_timeout=LONG)
    assert caught.value.response.status_code == 403
    assert not games()
