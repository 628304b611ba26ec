# SPDX-License-Identifier: MIT
# Makes pages in the charsets of the web with Python's codecs, each intact and with one byte damaged,
# and the text that Python's decoders return with errors="replace". The argument is the seed; the same
# seed gives the same pages. Prints one line per page: how its charset is declared ("encoding",
# "header", "meta" or "mark"), the label, whether a byte is damaged, and the bytes and the text of the
# page (as UTF-8), both in hexadecimal.
import random
import sys

LATIN = "abc äöü éèà ñç ß ¿?"
CYRILLIC = "Привет, мир! Съешь же ещё этих булок"
JAPANESE = "日本語のテスト、漢字かなカナ。本文"
CHINESE = "中文网页测试，简体字。国家人民"
TRADITIONAL = "中文網頁測試，繁體字。國家人民"
KOREAN = "한국어 시험 문서입니다 똠방각하"
GREEK = "Καλημέρα κόσμε"
HEBREW = "שלום עולם"
ARABIC = "مرحبا بالعالم"
THAI = "สวัสดีชาวโลก"
CENTRAL = "Příliš žluťoučký kůň, zażółć gęślą"

# Labels, the codec for what browsers take each label for, and a text to choose from.
CHARSETS = [
    (["utf-8", "UTF8", "unicode-1-1-utf-8"], "utf-8", LATIN + CYRILLIC + JAPANESE + "€😀"),
    (["windows-1252", "iso-8859-1", "us-ascii", "latin1"], "cp1252", LATIN + "€„“"),
    (["windows-1250", "x-cp1250"], "cp1250", CENTRAL),
    (["windows-1251", "cp1251"], "cp1251", CYRILLIC),
    (["windows-1253"], "cp1253", GREEK),
    (["windows-1254", "iso-8859-9", "latin5"], "cp1254", LATIN + "ğışİ"),
    (["windows-1255"], "cp1255", HEBREW),
    (["windows-1256"], "cp1256", ARABIC),
    (["windows-1257"], "cp1257", "ąčęėįšųūž"),
    (["windows-1258"], "cp1258", "ăâđêôơư"),
    (["windows-874", "tis-620"], "cp874", THAI),
    (["iso-8859-2", "latin2"], "iso8859_2", CENTRAL),
    (["iso-8859-5"], "iso8859_5", CYRILLIC),
    (["iso-8859-7", "greek"], "iso8859_7", GREEK),
    (["iso-8859-8-i", "hebrew"], "iso8859_8", HEBREW),
    (["iso-8859-15"], "iso8859_15", LATIN + "€"),
    (["koi8-r"], "koi8_r", CYRILLIC),
    (["koi8-u", "koi8-ru"], "koi8_u", CYRILLIC + "їєґ"),
    (["ibm866", "cp866"], "cp866", CYRILLIC),
    (["macintosh"], "mac_roman", LATIN + "∆"),
    (["x-mac-cyrillic"], "mac_cyrillic", CYRILLIC),
    (["gb2312", "gbk", "x-gbk", "gb18030"], "gb18030", CHINESE),
    (["big5", "x-x-big5"], "big5hkscs", TRADITIONAL),
    (["euc-jp", "x-euc-jp"], "euc_jp", JAPANESE),
    (["shift_jis", "x-sjis", "windows-31j"], "cp932", JAPANESE + "①ｱｲｳ"),
    (["iso-2022-jp"], "iso2022_jp", JAPANESE),
    (["euc-kr", "ks_c_5601-1987"], "cp949", KOREAN),
]
MARKED = [("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")]

PAGE = ('<!DOCTYPE html><html><head>{meta}<title>{title}</title></head><body>'
        '<p><a href="/1">{one}</a> {text} <a href="/2">{two}</a>\n</p></body></html>\n')

# Bytes that would change the structure of the page: those of markup, and blanks of HTML.
MARKUP = set(b'<>&"/=\r\n\t\f ')


def words(rng, alphabet):
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(5, 40))).replace("\n", " ")


def damage(rng, page, first):
    """One byte of the page's texts, neither of markup nor ASCII that may be part of it."""
    places = [i for i in range(first, len(page)) if page[i] >= 0x80]
    if not places:  # of seven bits: within what follows an escape
        places = [i + 3 for i in range(first, len(page) - 4) if page[i:i + 2] == b"\x1b$"]
    at = rng.choice(places)
    byte = rng.choice([b for b in range(256) if b not in MARKUP and b != page[at]])
    return page[:at] + bytes([byte]) + page[at + 1:]


def lines(seed, pages):
    rng = random.Random(seed)
    for number in range(pages):
        told = ("encoding", "header", "meta", "mark")[number % 4]
        if told == "mark":
            codec, mark = rng.choice(MARKED)
            labels, alphabet = ["windows-1251"], LATIN + CYRILLIC + JAPANESE + "€😀"
        else:
            (labels, codec, alphabet), mark = CHARSETS[number // 4 % len(CHARSETS)], b""
        label = rng.choice(labels)
        meta = ""
        if told == "meta":
            meta = rng.choice(['<meta charset="%s">',
                               "<!-- <meta charset=utf-8> --><META content='text/html; charset=%s' "
                               "http-equiv=Content-Type>"]) % label
        elif told != "mark":
            meta = rng.choice(["", "<meta charset=koi8-r>", "<meta charset=utf-8>"])
        texts = {name: words(rng, alphabet) for name in ("title", "one", "two", "text")}
        page = mark + PAGE.format(meta=meta, **texts).encode(codec)
        first = len(mark + PAGE[:PAGE.index("<title>")].format(meta=meta).encode(codec))
        for damaged, body in ((0, page), (1, damage(rng, page, first))):
            text = body[len(mark):].decode(codec, "replace").replace("\0", "\ufffd")
            print(told, label, damaged, body.hex(), text.encode("utf-8").hex())


lines(int(sys.argv[1]), int(sys.argv[2]))
