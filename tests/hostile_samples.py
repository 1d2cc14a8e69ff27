"""Hostile requests for the service, each with the statuses that are right for it."""

import base64
import dataclasses
import random
import urllib.parse
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from extract_samples import encoded, picture
from hostile_client import (
    BASE,
    BODY,
    END,
    GOOD,
    MIB,
    PICTURES,
    PIXELS,
    TOKEN,
    Answer,
    Heard,
    Part,
    as_json,
    get,
    head_of,
    post,
    post_json,
)
from test_image_corpus import FAULTY, ODD, chunk, of_scans, png

from headstart.core.cache.errors import ImageTooLarge, ImageUnreadable
from headstart.core.extract.pictures.decode import decode_for
from headstart.core.extract.pictures.preprocess import Preprocessing


@dataclasses.dataclass(frozen=True)
class Case:
    """A hostile request: its parts, the statuses of the answers that are right, and what else must hold of them.

    `silence` says that no answer at all is right too: the client has gone, or what it said can't be answered.
    """

    name: str
    parts: tuple[Part, ...]
    right: tuple[frozenset[int], ...]
    silence: bool = False
    check: Callable[[Answer], None] | None = None


def case(name: str, *parts: Part, right: int | Sequence[int] = 400, silence: bool = False, **more: Any) -> Case:
    """A case with one answer."""
    statuses = frozenset([right] if isinstance(right, int) else right)
    return Case(name, parts, (statuses,), silence, **more)


def expected(content: bytes) -> tuple[int, tuple[int, int]]:
    """The status that is right for a picture, by the decoder itself, and its width and height."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = decode_for(content, "it", [Preprocessing(32)], PIXELS)
        except ImageTooLarge:
            return 413, (0, 0)
        except ImageUnreadable:
            return 422, (0, 0)
    return 200, (found.width, found.height)


def of_picture(name: str, content: bytes, number: int) -> Case:
    """A picture, whole in a body or as base64 in one of two places of a JSON document."""
    status, size = expected(content)
    if number % 4:
        kind = ("image/png", "application/octet-stream", "image/x-unheard-of")[number % 3]
        return case(f"picture: {name}", post(content, kind), right=status, check=_sized(size) if status == 200 else None)
    document = as_json(GOOD, content)
    return case(f"picture in JSON: {name}", post_json(document), right=200, check=_second(status, size))


def _sized(size: tuple[int, int]) -> Callable[[Answer], None]:
    def check(answer: Answer) -> None:
        (found,) = answer.json()["pictures"]
        assert (found["width"], found["height"]) == size
        assert found["problem"] is None
        assert sum(one["share"] for one in found["heads"][0]["labels"]) <= 1.0001

    return check


def _second(status: int, size: tuple[int, int]) -> Callable[[Answer], None]:
    def check(answer: Answer) -> None:
        first, second = answer.json()["pictures"]
        assert first["problem"] is None
        assert first["heads"][0]["labels"]
        if status == 200:
            assert (second["width"], second["height"], second["problem"]) == (*size, None)
        else:
            assert second["problem"]["status"] == status
            assert second["heads"] == []

    return check


def pictures(mutants: Sequence[tuple[str, bytes]]) -> list[Case]:
    """The corpora of odd and faulty pictures, and mutants of others."""
    kinds = [*ODD.items(), *((name, content) for name, (content, _) in FAULTY.items()), *mutants]
    return [of_picture(name, content, number) for number, (name, content) in enumerate(kinds)]


def bombs() -> list[Case]:
    """Pictures that say, or are, far more than their bytes."""
    found = {
        "100 megapixels of nothing": png(10_000, 10_000, 8, b""),
        "100 megapixels": png(10_000, 10_000, 8, bytes(30_001 * 100)),
        "2 gigapixels": png(46_000, 46_000, 8, b""),
        "as wide as can be": png(2**31 - 1, 1, 8, b""),
        "as high as can be": png(1, 2**31 - 1, 8, b""),
        "a line of 3,999,999": png(3_999_999, 1, 8, b"\0" + bytes(3 * 3_999_999)),
        "just within": encoded(picture(2000, 2000), "PNG"),
        "just above": encoded(picture(2001, 2000), "PNG"),
        "text that unpacks to 16 MB": png(8, 8, 8, bytes(8), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24)))),
        "a profile that unpacks to 16 MB": png(8, 8, 8, bytes(200), chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**24)))),
        "data that unpacks to 64 MB": png(8, 8, 8, bytes(2**26)),
        "a GIF of 65,535 squared": b"GIF89a" + b"\xff\xff" * 2 + b"\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
        "a BMP of 100 megapixels": _bmp(10_000, 10_000),
        "a TIFF of 4 gigapixels": _tiff(65_536, 65_536),
        "a PPM of 100 megapixels": b"P6 10000 10000 255\n",
        "a PPM of no end of digits": b"P6 " + b"9" * 5000 + b" 1 255\n",
        "a JPEG of 65,500 squared": _jpeg(65_500, 65_500),
        "scans without end": of_scans(100_000, 2000),
        "frames without end": encoded(
            picture(8, 8), "GIF", save_all=True, append_images=[picture(8, 8, i) for i in range(99)]
        ),
    }
    kept = {name: content for name, content in found.items() if len(content) <= BODY}
    assert len(kept) == len(found)
    return [of_picture(f"bomb, {name}", content, 4 * i + 1 + i % 4) for i, (name, content) in enumerate(found.items())]


def _bmp(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "BMP"))
    content[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return bytes(content)


def _tiff(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "TIFF"))
    for tag, value in ((b"\x00\x01\x04\x00\x01\x00\x00\x00", width), (b"\x01\x01\x04\x00\x01\x00\x00\x00", height)):
        short = tag[:2] + b"\x03\x00" + tag[4:]
        place = content.find(tag) if tag in content else content.find(short)
        assert place >= 0
        content[place : place + 12] = tag + value.to_bytes(4, "little")
    return bytes(content)


def _jpeg(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "JPEG"))
    place = content.find(b"\xff\xc0") + 5
    content[place : place + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(content)


def cut(count: int, rng: random.Random) -> list[Case]:
    """Bodies that end before they are whole: the client has gone, or waits for what never comes."""
    found = []
    for number in range(count):
        whole = post(GOOD) if number % 2 else post_json(as_json(GOOD))
        place = rng.randrange(1, len(whole))
        # our side is closed: what is there can't be a request; 400 says so, or nobody is there to hear it
        found.append(case(f"cut after {place} bytes", whole[:place], END, right=(400, 408), silence=True))
    return found


def slow(count: int, rng: random.Random) -> list[Case]:
    """Bodies in drips, which would take longer than bodies may."""
    found = []
    for number in range(count):
        whole = post(GOOD)
        head = whole.index(b"\r\n\r\n") + 4 + rng.randrange(20)
        drips: list[Part] = []
        for place in range(head, head + 40):
            drips += [whole[place : place + 1], 0.2]
        how = ("stops", "drips", "in chunks")[number % 3]
        if how == "stops":
            found.append(case(f"slow body, stops after {head}", whole[:head], right=408))
        elif how == "drips":
            found.append(case("slow body, a byte at a time", whole[:head], *drips, right=408))
        else:
            start = post(b"", Content_Length=None, Transfer_Encoding="chunked")
            found.append(case("slow body in chunks", start, *([b"1\r\nx\r\n", 0.2] * 40), right=408))
    return found


KINDS = (
    None, "", "text/plain", "text/html; charset=utf-8", "application/xml", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x", "multipart/form-data", "application/jsonx", "application/json-patch+json",
    "video/mp4", "image", "image png", "imag/png", "*/*", ";", "application/json, image/png", "\x80\xff", "a" * 5000,
    "application/problem+json", "application/", "/", "audio/mpeg", "model/gltf",
)  # fmt: skip


def types() -> list[Case]:
    """Other types of bodies, and bodies that are packed."""
    found = [case(f"type {kind!r:.60}", post(GOOD, kind), right=415) for kind in KINDS]
    packings = ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x" * 2000)
    return found + [case(f"packed by {one:.20}", post(GOOD, Content_Encoding=one), right=415) for one in packings]


def lengths() -> list[Case]:
    """Lengths that lie, and transfers that nobody can follow."""
    start = {**BASE, "Content-Type": "image/png"}

    def sent(name: str, headers: Mapping[str, str], body: bytes = GOOD, right: int | Sequence[int] = 400) -> Case:
        return case(f"length: {name}", head_of("POST", "/v1/predict", {**start, **headers}) + body, right=right)

    bad = ("-1", "+5", "abc", "1e3", "0x10", "1.0", " ", "1 2", "9" * 400, "\u00b2", "1,2", "5, 6", "١")
    found = [
        sent(f"{value!r:.30}", {"Content-Length": value}, right=(400, 413))
        for value in bad
        if value.isascii() or value.encode("latin-1", "ignore").decode("latin-1") == value
    ]
    found += [
        sent(f"{size:,} declared", {"Content-Length": str(size)}, right=413)
        for size in (BODY + 1, 2**31, 2**32 + 5, 2**63, 2**64, 10**19)
    ]
    chunked = {"Transfer-Encoding": "chunked"}
    found += [
        sent("both", {**chunked, "Content-Length": "5"}, b"0\r\n\r\n", (200, 400, 422)),
        sent("packed transfer", {"Transfer-Encoding": "gzip"}, right=(400, 501)),
        sent("packed transfer in chunks", {"Transfer-Encoding": "gzip, chunked"}, right=(400, 501)),
        sent("chunked twice", {"Transfer-Encoding": "chunked, chunked"}, right=(400, 501)),
        sent("identity", {"Transfer-Encoding": "identity"}, right=(400, 501)),
        sent("no length at all", {}, b"", 422),
        sent("empty", {"Content-Length": "0"}, b"", 422),
        sent("empty in chunks", chunked, b"0\r\n\r\n", 422),
        sent("a chunk of no number", chunked, b"xyz\r\nabc\r\n", 400),
        sent("a negative chunk", chunked, b"-5\r\nabc\r\n", 400),
        sent("a chunk of 2^80", chunked, b"1" + b"0" * 20 + b"\r\nabc", (400, 408, 413)),
        sent("a chunk longer than said", chunked, b"3\r\nabcdef\r\n0\r\n\r\n", 400),
        sent("an extension of 40 kB", chunked, b"3;" + b"a" * 40_000 + b"\r\nabc\r\n0\r\n\r\n", (400, 422)),
        sent("a trailer of 40 kB", chunked, b"0\r\nx: " + b"a" * 40_000 + b"\r\n\r\n", (400, 422)),
        sent(
            "larger than may be, in chunks",
            chunked,
            b"100000\r\n" + bytes(MIB) + b"\r\n" + b"200000\r\n" + bytes(2 * MIB),
            413,
        ),
        sent("an extension without end", chunked, b"3;" + b"a" * 8 * MIB, 400),
        sent("a trailer without end", chunked, b"0\r\nx: " + b"a" * 8 * MIB, 400),
        case("length: chunks without end", head_of("POST", "/v1/predict", {**start, **chunked}), *_endless(), right=413),
        case(
            "length: two that differ",
            head_of("POST", "/v1/predict", start)[:-2] + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + GOOD,
        ),
        case("length: expects to go on", post(GOOD, Expect="100-continue"), right=200),
        case("length: expects to go on, too large", post(b"", Content_Length=str(2**40), Expect="100-continue"), right=413),
        case("length: expects something else", post(GOOD, Expect="200-ok"), right=(200, 417)),
    ]
    return found


def _endless() -> list[Part]:
    return [b"10000\r\n" + bytes(2**16) + b"\r\n"] * 64


def documents() -> list[Case]:
    """JSON that is none, or says something else than what is asked."""
    data = base64.b64encode(GOOD).decode()
    bad: dict[str, bytes] = {
        "nothing": b"", "a word": b"hello", "half": b'{"pictures": [', "NaN": b'{"pictures": NaN}',
        "Infinity": b'{"topk": Infinity, "pictures": []}', "no UTF-8": b'{"pictures": "\xff\xfe"}',
        "deep lists": b"[" * 100_000, "deep objects": b'{"a":' * 50_000, "deep and whole": b"[" * 5000 + b"]" * 5000,
        "twice the same name": b'{"pictures": [], "pictures": []}', "a comma too many": b'{"pictures": [],}',
        "zeros": bytes(1000), "a number of 100,000 digits": b'{"topk": ' + b"9" * 100_000 + b"}",
        "1e999": b'{"topk": 1e999}', "a picture": GOOD, "single quotes": b"{'pictures': []}", "two documents": b"{}{}",
        "a lone bracket": b"]",
    }  # fmt: skip
    found = [case(f"JSON: {name}", post_json(content), right=400) for name, content in bad.items()]
    wrong: dict[str, Any] = {
        "a list": [], "a text": "x", "null": None, "true": True, "a number": 5, "no pictures": {},
        "pictures null": {"pictures": None}, "pictures empty": {"pictures": []}, "pictures a text": {"pictures": data},
        "pictures an object": {"pictures": {"0": {"data": data}}}, "a picture that is a text": {"pictures": [data]},
        "a picture without data": {"pictures": [{"name": "a"}]}, "data null": {"pictures": [{"data": None}]},
        "data a number": {"pictures": [{"data": 5}]}, "data a list": {"pictures": [{"data": [1, 2]}]},
        "data no base64": {"pictures": [{"data": "!!!"}]}, "data cut": {"pictures": [{"data": data[:-3]}]},
        "data with line breaks": {"pictures": [{"data": data[:20] + "\n" + data[20:]}]},
        "data in the URL alphabet": {"pictures": [{"data": base64.urlsafe_b64encode(b"\xff\xfe\xfb" * 9).decode()}]},
        "data of a data URL": {"pictures": [{"data": "data:image/png;base64," + data}]},
        "data beyond ASCII": {"pictures": [{"data": "ä" + data}]},
        "data of half a pair": {"pictures": [{"data": "\ud800" + data}]},
        "name a number": {"pictures": [{"data": data, "name": 5}]},
        "name of 100,000": {"pictures": [{"data": data, "name": "a" * 100_000}]},
        "a field too many": {"pictures": [{"data": data, "x": 1}]}, "an option too many": as_json(GOOD, x=1),
        "an odd option": {**as_json(GOOD), "\ud800\x00\n": 1}, "__proto__": as_json(GOOD, __proto__={}),
    }  # fmt: skip
    for option, values in {
        "topk": (0, -1, 1001, 10**30, 1.0, 1.5, "3", True, None, [], {}, "NaN"),
        "neighbours": (-1, 21, 10**30, 0.5, "1", False, None, [1]),
        "coverage": (0, 1, -0.5, 1.5, "0.9", True, [], {}, 10**400),
        "heads": ("head", [], [None], [5], ["no-head"], ["a", "a"], {}, [[]], [{}], 5, ["\ud800"]),
    }.items():
        wrong |= {f"{option} {value!r:.30}": as_json(GOOD, **{option: value}) for value in values}
    found += [case(f"JSON: {name}", post_json(value), right=422) for name, value in wrong.items()]
    many = as_json(*[GOOD] * (PICTURES + 1))
    found += [
        case("JSON: a picture too many", post_json(many), right=413),
        case("JSON: 100,000 pictures", post_json({"pictures": [{}] * 100_000}), right=413),
        # json's own reader takes both, which RFC 8259 leaves to readers, or has never been sent
        case("JSON: a BOM", post_json(b"\xef\xbb\xbf{}"), right=(400, 422)),
        case("JSON: UTF-16", post_json('{"a": 1}'.encode("utf-16")), right=(400, 422)),
        case("JSON: data empty", post_json({"pictures": [{"data": ""}]}), right=200, check=_refused(422)),
        case("JSON: an odd name", post_json({"pictures": [{"data": data, "name": "\ud800\x00\x1b[31m"}]}), right=200),
        case(
            "JSON: a name that names a file",
            post_json({"pictures": [{"data": data, "name": "../../etc/passwd"}]}),
            right=200,
        ),
    ]
    return found


def _refused(status: int) -> Callable[[Answer], None]:
    def check(answer: Answer) -> None:
        assert answer.json()["pictures"][0]["problem"]["status"] == status

    return check


def queries() -> list[Case]:
    """Options in the query that are none."""
    values = {
        "topk": ("NaN", "1e3", "-1", "0", "", " 3", "3 ", "1001", "9" * 300, "0x3", "3.0", "٣", "3;4", "null", "²", "1_0"),
        "coverage": (
            "NaN",
            "inf",
            "-inf",
            "0",
            "1",
            "-0.5",
            "2",
            "",
            "0,9",
            "1e-400",
            "1e400",
            "0x1p-1",
            ".",
            "0.9.9",
            "9" * 300,
            "½",
        ),
        "neighbours": ("-1", "21", "NaN", "", "1e1", "9" * 300, "true"),
        "head": ("", "no-head", "../head", "head\0", "\udcff", "a" * 5000, "<script>"),
    }
    found = [
        case(f"query: {name}={value!r:.30}", post(GOOD, query=f"{name}={_quoted(value)}"), right=400)
        for name, several in values.items()
        for value in several
    ]
    more = (
        "x=1",
        "topk=3&topk=3",
        "topk=1&coverage=0.9&coverage=0.9",
        "TOPK=3",
        "topk[]=3",
        "%00=1",
        "__proto__=1",
        "head=a&head=b",
        "topk=3&&x",
        "=",
    )
    return found + [case(f"query: {query!r:.30}", post(GOOD, query=query), right=400) for query in more]


def _quoted(value: str) -> str:
    return urllib.parse.quote(value.encode("utf-8", "surrogateescape"))


def tokens() -> list[Case]:
    """Tokens that are none."""
    wrong = (
        None, "", "Bearer", "Bearer ", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer{TOKEN}", f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN} {TOKEN}", f'Bearer "{TOKEN}"',
        "Bearer " + "a" * 20_000, "Bearer \xff\xfe", "\x80", f"Token {TOKEN}", f"Bearer,{TOKEN}", f"Bearer={TOKEN}",
        "Negotiate x", "Digest username=a",
    )  # fmt: skip
    found = [case(f"token {value!r:.40}", post(GOOD, Authorization=value), right=401, check=_challenged) for value in wrong]
    closed = ("/v1/heads", "/readyz", "/metrics", "/openapi.json", "/v1/predict", "/nothing")
    return found + [
        case(f"no token for {target}", get(target, Authorization=None), right=401, check=_challenged) for target in closed
    ]


def _challenged(answer: Answer) -> None:
    assert answer.headers["www-authenticate"].startswith("Bearer")


def hosts() -> list[Case]:
    """Names by which nobody should call a service of the loopback, and pages of others."""
    wrong = (
        "evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "169.254.169.254", "0.0.0.0",
        "[::2]", "[", "]", "a" * 5000, "127.1.2.3.4", "localhost@evil.example", "evil.example#localhost", "\xff",
    )  # fmt: skip
    found = [case(f"host {value!r:.40}", post(GOOD, Host=value), right=(400, 403)) for value in wrong]
    found += [case("no host", post(GOOD, Host=None), right=400)]
    found += [case("two hosts", head_of("GET", "/v1/heads", BASE)[:-2] + b"Host: evil.example\r\n\r\n", right=400)]
    origins = ("http://evil.example", "null", "https://localhost.evil.example", "file://", "http://127.0.0.1:1", "\xff")
    found += [case(f"origin {value!r}", post(GOOD, Origin=value), right=403) for value in origins]
    found += [
        case(f"a page says {site}", post(GOOD, Sec_Fetch_Site=site), right=403) for site in ("cross-site", "same-site")
    ]
    return found


def garbage(count: int, rng: random.Random) -> list[Case]:
    """What is no HTTP, whether alone or behind a request that is."""
    alone: dict[str, bytes] = {
        "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(189), "HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n\r\n", "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", "SSH": b"SSH-2.0-x\r\n\r\n",
        "zeros": bytes(5000), "an address of 40 kB": b"GET /" + b"a" * 40_000,
        "a header of 40 kB": get("/healthz", X="a" * 40_000),
        "5,000 headers": get("/healthz")[:-2] + b"".join(b"h%d: 1\r\n" % i for i in range(5000)) + b"\r\n",
        "a space before the colon": b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "a line that goes on": get("/healthz")[:-2] + b" folded\r\n\r\n",
        "a zero in a header": get("/healthz")[:-2] + b"a: b\0c\r\n\r\n",
        "a bare return": b"GET / HTTP/1.1\rHost: localhost\r\r", "no method": b" / HTTP/1.1\r\n\r\n",
        "a method of odd letters": b"G\xc3\x8bT / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a web page": b"<html></html>\r\n\r\n", "no target": b"GET  HTTP/1.1\r\n\r\n",
    }  # fmt: skip
    alone |= {f"noise {i}": rng.randbytes(rng.randrange(1, 3000)) + b"\r\n\r\n" for i in range(count)}
    # of a folded line h11 makes one header, and of a bare return nothing before time is up
    # nor does it mind versions to come, or headers that come at once and are a little too long
    lenient = {
        "a line that goes on": (200, 400),
        "a bare return": (400, 408),
        "HTTP/0.9": (400, 408),
        "HTTP/9.9": (200, 400, 404, 505),
        "HTTP/2": (400, 401, 505),
        "a header of 40 kB": (200, 400, 431),
        "5,000 headers": (200, 400, 431),
    }
    found = [case(f"garbage: {name}", content, right=lenient.get(name, (400,))) for name, content in alone.items()]
    good, ok = get("/healthz"), frozenset([200])
    bad, longer = frozenset([400]), post(GOOD, Content_Length=str(len(GOOD) - 4))
    for name, content in list(alone.items())[:8] + list(alone.items())[-count:]:
        right = frozenset((400, 408, *lenient.get(name, ())))
        found.append(Case(f"behind a request: {name}", (good + content,), (ok, right)))
    found += [
        Case("three at once", (good + post(GOOD) + good,), (ok, ok, ok)),
        Case("a predict behind a predict that fails", (post(b"no picture") + post(GOOD),), (frozenset([422]), ok)),
        Case("50 at once", (good * 50,), (ok,) * 50),
        Case("a body longer than said", (longer, END), (frozenset([422, 200]), bad), silence=True),
        case(
            "an upgrade to h2c",
            get("/healthz", Upgrade="h2c", Connection="Upgrade", HTTP2_Settings="AAMAAABkAAQ"),
            right=200,
        ),
        case("an upgrade to a web socket", get("/v1/predict", Upgrade="websocket", Connection="Upgrade"), right=(404, 405)),
    ]
    return found


def paths() -> list[Case]:
    """Paths and methods that are not there."""
    targets = (
        "/nothing", "/v1", "/v1/", "/v1/predict/", "/V1/predict", "//v1/predict", "/v1/predict/../heads", "/..%2f..%2fx",
        "/../../etc/passwd", "/%00", "/%ff%fe", "/v1/thumbnails/x/y", "/v1/thumbnails/../../x", "/.git/config",
        "/" + "a" * 8000, "/v1/predict;x", "/v1/predict%3Ftopk=3", "*", "http://evil.example/x", "/\u00e4",
    )  # fmt: skip
    found = [case(f"path {target!r:.40}", get(target), right=(400, 404)) for target in targets]
    others = (
        ("DELETE", "/v1/predict"), ("PUT", "/v1/predict"), ("PATCH", "/v1/predict"), ("GET", "/v1/predict"),
        ("POST", "/v1/heads"), ("POST", "/healthz"), ("TRACE", "/v1/predict"), ("CONNECT", "/v1/predict"),
        ("PROPFIND", "/x"), ("A" * 300, "/v1/predict"), ("POST", "/openapi.json"), ("DELETE", "/metrics"),
    )  # fmt: skip
    found += [
        case(f"{method:.20} {target}", head_of(method, target, {**BASE, "Content-Length": "0"}), right=(404, 405))
        for method, target in others
    ]
    return found


def hostile(count: int, mutants: Callable[[int], Iterator[tuple[str, bytes]]]) -> list[Case]:
    """`count` hostile requests of all kinds in an order of chance, the same in every run. What the kinds have not got is
    filled up by mutated pictures."""
    rng = random.Random(16)
    fixed = [*bombs(), *types(), *lengths(), *documents(), *queries(), *tokens(), *hosts(), *paths()]
    found = [*fixed, *cut(60, rng), *slow(24, rng), *garbage(40, rng)]
    found += pictures(list(mutants(max(0, 1000 - len(found) - len(ODD) - len(FAULTY)))))
    rng.shuffle(found)
    return found[:count]


def judged(found: Case, heard: Heard) -> str | None:
    """What is wrong with what was heard; None where it is right."""
    statuses = heard.statuses
    if found.silence and heard.closed and not statuses:
        return None
    short = found.silence and heard.closed and len(statuses) < len(found.right)
    if not short and len(statuses) != len(found.right):
        return f"{statuses} heard, closed: {heard.closed}, expected {[sorted(right) for right in found.right]}"
    if wrong := [status for status, right in zip(statuses, found.right, strict=False) if status not in right]:
        return f"{wrong[0]}, expected {[sorted(right) for right in found.right]}: {heard.answers[-1].body[:300]!r}"
    for answer in (one for one in heard.answers if one.status >= 400):
        if (fault := _no_problem(answer)) is not None:
            return fault
    try:
        if found.check is not None:
            found.check(heard.answers[-1])
    except AssertionError as error:
        return f"{error}: {heard.answers[-1].body[:300]!r}"
    return None


def _no_problem(answer: Answer) -> str | None:
    """Why an answer is no problem document (RFC 9457) for its status."""
    if answer.headers.get("content-type") != "application/problem+json":
        return f"{answer.status} as {answer.headers.get('content-type')}, expected application/problem+json"
    found = answer.json()
    if found.get("status") != answer.status or not all(
        isinstance(found.get(one), str) for one in ("type", "title", "detail")
    ):
        return f"{answer.status} with {found}"
    if len(answer.body) > 4096 or any(c in found["detail"] for c in "\n\r\0"):
        return f"a detail of {len(answer.body):,} bytes, or of several lines: {found['detail'][:200]!r}"
    return None
