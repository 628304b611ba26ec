-- SPDX-License-Identifier: MIT
-- The charsets of pages: what a label means, which of several counts, and what becomes of bytes
-- that are no text.

local xml = require("fleet.xml")

local function text(bytes, opts)
  return assert(xml.html(bytes, opts)):xpath("string(//p)")
end

local function unhex(s)
  return (s:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

describe("a page", function()
  it("is the text that Python's decoders give, with errors=\"replace\"", function()
    local count, spoilt_count = 0, 0
    local pipe = assert(io.popen("python3 spec/support/charset_pages.py 1 1000"))
    for line in pipe:lines() do
      local told, label, spoilt, bytes, expected = line:match("^(%S+) (%S+) (%d) (%x+) (%x+)$")
      local opts
      if told == "encoding" then opts = { encoding = label } end
      if told == "header" then opts = { content_type = "text/html; charset=" .. label } end
      -- a mark counts for more than what else is told, of which there is something
      if told == "mark" then opts = { encoding = label } end
      local page = assert(xml.html(unhex(bytes), opts))
      local right = assert(xml.html(unhex(expected), { encoding = "utf-8" }))
      local what = ("page %d, %s %s"):format(count, told, label)
      assert.equal(right:text(), page:text(), what)
      assert.equal(right:xpath("string(//title)"), page:xpath("string(//title)"), what)
      assert.equal(#right:xpath("//a"), #page:xpath("//a"), what)
      if spoilt == "0" or label ~= "iso-2022-jp" then -- there a byte may take much with it
        assert.same({ "/1", "/2" }, { page:xpath("//a")[1]:attr("href"),
          page:xpath("//a")[2]:attr("href") }, what)
      end
      count, spoilt_count = count + 1, spoilt_count + tonumber(spoilt)
    end
    pipe:close()
    assert.same({ 2000, 1000 }, { count, spoilt_count })
  end)

  it("is decoded by what browsers take its label for", function()
    for label, case in pairs({
      gb2312 = { "\xd6\xd0\xe9\x46", "中镕" }, ["X-GBK"] = { "\x81\x40", "丂" },
      shift_jis = { "\x87\x40", "①" }, ["x-sjis"] = { "\x8a\xbf", "漢" },
      ["euc-jp"] = { "\xb4\xc1\xad\xa1", "漢①" }, ["iso-2022-jp"] = { "\27$B4A\27(B", "漢" },
      ["euc-kr"] = { "\x8c\x63", "똠" }, ["ks_c_5601-1987"] = { "\xc7\xd1", "한" },
      ["iso-8859-1"] = { "\x80", "€" }, ["us-ascii"] = { "\x93", "“" },
      ["iso-8859-8-i"] = { "\xe0", "א" }, [" Unicode-1-1-UTF-8\n"] = { "\xc3\xbc", "ü" },
      ["iso-8859-9"] = { "\xf0", "ğ" }, ["tis-620"] = { "\xa1", "ก" },
      big5 = { "\xa4\xa4\x88\x62\xa1\xfe", "中Ê̄／" }, ["x-user-defined"] = { "a\x80", "a\u{f780}" },
      ["windows-1258"] = { "a\xcc", "a\u{300}" }, macintosh = { "\xc6", "∆" },
      cp437 = { "\x9a", "Ü" }, -- no label, but iconv knows it
    }) do
      assert.equal(case[2], text("<p>" .. case[1], { encoding = label }), label)
    end
    assert.equal("\u{fffd}", xml.html("<p>x", { encoding = "iso-2022-kr" }):text())
    assert.equal("ü", text("\xff\xfe<\0p\0>\0\xfc\0"))
    assert.equal("ü", text("<\0p\0>\0\xfc\0", { encoding = "utf-16" }))
  end)

  it("is in what the first of these says: mark, caller, header, page, itself", function()
    local cyrillic, meta = "<p>\xcf\xf0", "<meta charset=koi8-r>"
    local header = { content_type = "Text/HTML; x=y ;Charset=\"windows-1251\"; z" }
    assert.equal("Пр", text(cyrillic, header))
    assert.equal("Пр", text(meta .. cyrillic, header))
    assert.equal("оП", text(meta .. cyrillic))
    assert.equal("Ïð", text(meta .. cyrillic,
      { encoding = "latin1", content_type = header.content_type }))
    assert.equal("ü", text("\xef\xbb\xbf" .. meta .. "<p>ü", header))
    assert.equal("ü", text("\xef\xbb\xbf<p>ü", { encoding = "cp437" }))
    assert.equal("Ïð", text(cyrillic))
    assert.equal("ü", text("<p>ü"))
    assert.equal("Ã¼", text("<meta charset=latin1><p>ü"))
    -- one that nobody knows is none, unless the caller names it
    assert.equal("оП", text(meta .. cyrillic, { content_type = "text/html; charset=morse" }))
    assert.equal("оП", text(meta .. cyrillic, { content_type = "text/html" }))
    assert.equal("оП", text(meta .. cyrillic, { content_type = "" }))
    assert.equal("ü", text("<meta charset=morse><p>ü"))
    for _, label in ipairs({ "morse", "", "latin1//TRANSLIT", "utf-8 latin1" }) do
      local page, err = xml.html("<p>x", { encoding = label })
      assert.is_nil(page)
      assert.same({ "decode", ("unknown encoding '%s'"):format(label) }, { err.kind, err.message })
    end
  end)

  it("may name its charset in the ways of pages", function()
    for head, expected in pairs({
      ["<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>"] = "оП",
      ["<META content=\"text/html;CHARSET = 'KOI8-R'\" HTTP-EQUIV=\"content-type\"/>"] = "оП",
      ["<meta/charset='koi8-r'>"] = "оП",
      ["<meta name=x charset = koi8-r charset=latin1>"] = "оП",
      ["<meta charset=none><meta charset=koi8-r>"] = "оП",
      ["<!-- <meta charset=latin1> --><meta charset=koi8-r>"] = "оП",
      ["<!--><meta charset=koi8-r>"] = "оП",
      ["<a title='<meta charset=latin1>'><meta charset=koi8-r>"] = "оП",
      ["<? <meta charset=latin1><meta charset=koi8-r>"] = "оП",
      [("<!-- long -->"):rep(100) .. "<meta charset=koi8-r>"] = "оП",
      ["<meta content='text/html; charset=koi8-r'>"] = "Ïð", -- of what?
      ["<metacharset=koi8-r>"] = "Ïð",
      ["<meta charset=x-user-defined>"] = "Ïð",
    }) do
      assert.equal(expected, text(head .. "<p>\xcf\xf0"), head)
    end
    assert.equal("ü", text("<meta charset=utf-16><p>ü")) -- it was read as ASCII, so it is not
  end)

  it("goes on behind bytes that are no text", function()
    for label, bytes in pairs({
      gb2312 = "\xd6\xff", shift_jis = "\xeb\x9d", ["euc-jp"] = "\xa9\xfe",
      ["euc-kr"] = "\xa2\xe8",
      ["windows-1252"] = "\x81", ["windows-1250"] = "\x81", ["iso-8859-7"] = "\xae", big5 = "\xff",
      ["utf-8"] = "\xe2\x82", ["us-ascii"] = "\x9d\0", ["iso-2022-jp"] = "\xe0",
    }) do
      local page = xml.html(("<meta charset=%s><p>a<a href=1>x</a>%s<a href=2>y</a>"):format(label,
        bytes))
      assert.equal(2, #page:xpath("//a"), label)
      assert.equal("axy", (page:text():gsub("\u{fffd}", "")), label)
      assert.matches("\u{fffd}", page:text(), label)
    end
    -- as many signs as pieces
    assert.equal("\u{fffd}(\u{fffd}\u{fffd}A\u{fffd}",
      text("<p>\xf0\x9f\x98(\xc0\x80A\xe2\x82", { encoding = "utf-8" }))
    local cut = xml.html("<meta charset=utf-8><meta name=description content='cut \xe6\x97'>"
      .. "<title>café</title>")
    assert.equal("café", cut:xpath("string(//title)"))
    assert.equal("cut \u{fffd}", cut:xpath("string(//meta/@content)"))
    assert.equal("é \u{fffd} €", text("<meta charset=utf-8><p>\xc3\xa9 \xe9 \xe2\x82\xac"))
    assert.equal("\u{fffd}", text("<p>\0"))
    assert.equal("a\u{fffd}", text("<\0p\0>\0a\0\x3c", { encoding = "utf-16le" }))
    assert.equal("\u{fffd}a", text("<\0p\0>\0\0\xd8a\0", { encoding = "utf-16le" }))
  end)

  it("takes time that grows with its length only, whatever is in it", function()
    for label, bytes in pairs({
      ["euc-jp"] = "\xad\xfe", ["iso-2022-jp"] = "\27$B-\xfe", big5 = "\xff\x80", gb2312 = "\x80",
      shift_jis = "\xeb", ["utf-8"] = "\xf0\x9f",
    }) do
      local began = os.clock()
      assert.is_truthy(xml.html("<p>" .. bytes:rep(200000), { encoding = label }))
      assert.is_true(os.clock() - began < 20, label) -- some 0.1 s; with its square, minutes
    end
  end)

  it("keeps control characters, and characters that are none", function()
    for _, c in ipairs({ "\1", "\b", "\v", "\14", "\27", "\31", "\127", "\u{80}", "\u{9f}",
      "\u{fdd0}", "\u{fdef}", "\u{fffe}", "\u{ffff}", "\u{1fffe}", "\u{10ffff}" }) do
      local source = "<meta charset=utf-8><p title='a?b' x?>a?b<y?><!--?-->"
      local page = xml.html((source:gsub("%?", c)))
      local p = page:xpath("//p")[1]
      assert.equal(("a%sb"):format(c), p:text())
      assert.equal(("a%sb"):format(c), p:attr("title"))
      assert.equal("", p:attr("x" .. c))
      assert.equal("y" .. c, p:xpath("*")[1]:name())
      assert.equal(c, page:xpath("//comment()")[1]:text())
    end
    assert.equal("\u{10fe80}", text("<meta charset=utf-8><p>\u{10fe80}"))
  end)

  it("says nothing on its own", function()
    local program = os.getenv("MOONFLEET") or "build/moonfleet"
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write([[
      local xml = require("fleet.xml")
      xml.html("<meta charset=utf-8><p>\xe9\0<b id=1><b id=1>", { content_type = "x;charset=y" })
      xml.html("<p>\x81\xff", { encoding = "gb2312" })
      xml.parse("<?xml version='1.0' encoding='gb2312'?><a>\xff</a>")
      xml.parse("<a")
      xml.parse("<a/>"):xpath("//[")
    ]])
    file:close()
    local pipe = assert(io.popen(("%s run %s 2>&1"):format(program, script)))
    local said = pipe:read("a")
    assert.is_true(pipe:close())
    os.remove(script)
    assert.equal("", said)
  end)
end)

describe("an XML document", function()
  it("is in the charset that it is told, by labels of the web", function()
    for label, case in pairs({
      ["x-sjis"] = { "\x87\x40", "①" }, gb2312 = { "\x81\x40", "丂" }, latin1 = { "\x80", "€" },
      ["ks_c_5601-1987"] = { "\x8c\x63", "똠" }, ["iso-8859-8-i"] = { "\xe0", "א" },
    }) do
      local document = "<a>" .. case[1] .. "</a>"
      assert.equal(case[2], xml.parse(document, { encoding = label }):text(), label)
      assert.equal(case[2],
        xml.parse(document, { content_type = "text/xml; charset=" .. label }):text(), label)
    end
    assert.equal("ü", xml.parse("<a>ü</a>", { content_type = "text/xml; charset=morse" }):text())
    for document, expected in pairs({
      ["<?xml version='1.0' encoding='GB2312' ?><a>\x81\x40&#9312;</a>"] = "丂①",
      ['<?xml version="1.0" encoding="shift_jis"?><a>\x87\x40</a>'] = "①",
      ["<?xml version='1.0' encoding='iso-8859-1'?><a>\xfc</a>"] = "ü",
    }) do
      assert.equal(expected, xml.parse(document):text())
    end
    local document = "<?xml version='1.0' encoding='gbk'?><a>ü</a>"
    assert.equal("ü", xml.parse(document, { content_type = "text/xml;charset=utf-8" }):text())
  end)

  it("must be all text", function()
    local doc, err = xml.parse("<a>\x81\xff</a>", { encoding = "shift_jis" })
    assert.is_nil(doc)
    assert.equal("decode", err.kind)
  end)
end)
