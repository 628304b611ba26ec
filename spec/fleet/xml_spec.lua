-- SPDX-License-Identifier: MIT
-- Patient: memory and time limits, of documents that are too large.

local e2e = require("spec.support.e2e")
local xml = require("fleet.xml")

local function names(list)
  local found = {}
  for i, node in ipairs(list) do found[i] = node:name() or node:kind() end
  return table.concat(found, " ")
end

local function refusal(read, s, opts)
  local doc, err = read(s, opts)
  assert.is_nil(doc)
  return err.kind, err.message
end

-- A child of a second at most, and what it is about: hostile input must end by itself.
local function ends(f)
  local began = os.clock()
  f()
  assert.is_true(os.clock() - began < 60) -- a sanitizer is slow
end

describe("xml.parse", function()
  local doc = assert(xml.parse([==[<?xml version="1.0"?>
<!DOCTYPE list SYSTEM "http://127.0.0.1:9/never.dtd">
<list xmlns="urn:a" xmlns:b="urn:b"><!-- note --><item id="1" b:id="2">one &lt;<![CDATA[&1]]></item>
<b:item>two<deep> and <deeper>a half</deeper></deep></b:item><?go on?></list>]==]))
  local prefixes = { a = "urn:a", b = "urn:b" }

  it("gives a tree of nodes", function()
    local root = doc:root()
    assert.equal("item item", names(root:children()))
    assert.equal("deep", names(root:children()[2]:children()))
    assert.same({}, root:children()[1]:children())
    assert.same({}, root:xpath("text()")[1]:children())
    assert.equal("list", root:name())
    assert.equal("urn:a", root:namespace())
    assert.equal("element", root:kind())
    assert.same({ "comment", "item", "text", "item", "go" }, (function()
      local list = {}
      for _, n in ipairs(root:xpath("node()")) do list[#list + 1] = n:name() or n:kind() end
      return list
    end)())
    assert.equal("instruction", root:xpath("processing-instruction()")[1]:kind())
    assert.equal(" note ", root:xpath("comment()")[1]:text())
    assert.equal("document", doc:xpath("/")[1]:kind())
  end)

  it("gives texts, in one piece and in many", function()
    local one, two = table.unpack(doc:xpath("//a:item | //b:item", prefixes))
    assert.equal("one <&1", one:text())
    assert.equal("two and a half", two:text())
    assert.equal("one <&1\ntwo and a half", doc:text())
    assert.equal("", xml.parse("<a/>"):text())
    assert.equal("one <", one:xpath("text()")[1]:text())
  end)

  it("gives attributes by name and namespace", function()
    local item = doc:xpath("//a:item", prefixes)[1]
    assert.equal("1", item:attr("id"))
    assert.equal("2", item:attr("id", "urn:b"))
    assert.is_nil(item:attr("id", "urn:c"))
    assert.is_nil(item:attr("other"))
    assert.is_nil(item:xpath("text()")[1]:attr("id"))
    local ids = item:xpath("@*")
    assert.equal("id id", names(ids))
    assert.equal("attribute", ids[1]:kind())
    assert.equal("12", ids[1]:text() .. ids[2]:text())
    assert.equal("urn:b", ids[2]:namespace())
    assert.is_nil(ids[1]:namespace())
  end)

  it("says what is wrong, and where", function()
    assert.same({ "decode", "line 2, column 8: Opening and ending tag mismatch: b line 1 and a" },
      { refusal(xml.parse, "<a><b>\nxxx</a>") })
    for _, s in ipairs({ "", " ", "text", "<a>", "<a/><b/>", "<a b=1/>", "<a>\0</a>", "<a>&b;</a>",
      "<a>\xff</a>", '<?xml version="1.0" encoding="none"?><a/>', "<!DOCTYPE a>", "<a>&#0;</a>",
    }) do
      local kind, message = refusal(xml.parse, s)
      assert.equal("decode", kind, s)
      assert.matches("^line %d+, column %d+: %a[^\n]+$", message)
    end
  end)

  it("reads other encodings, also those it is told", function()
    local umlaut = "<a>\xfc</a>"
    assert.equal("ü", xml.parse('<?xml version="1.0" encoding="latin1"?>' .. umlaut):text())
    assert.equal("ü", xml.parse(umlaut, { encoding = "ISO-8859-1" }):text())
    assert.equal("ü", xml.parse("\xff\xfe<\0a\0>\0\xfc\0<\0/\0a\0>\0"):text())
    assert.same({ "decode", "unknown encoding 'morse'" },
      { refusal(xml.parse, umlaut, { encoding = "morse" }) })
  end)

  it("reads no entities and no values of attributes that the document declares", function()
    local bomb = { "<!DOCTYPE a [<!ENTITY e0 'ha'>" }
    for i = 1, 40 do
      bomb[#bomb + 1] = ("<!ENTITY e%d '&e%d;&e%d;'>"):format(i, i - 1, i - 1)
    end
    bomb[#bomb + 1] = "]><a>&e40;</a>"
    for s, expected in pairs({
      [table.concat(bomb)] = "line 1: the document must not declare the entity e0",
      ['<!DOCTYPE a [\n<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'] =
        "line 2: the document must not declare the entity e",
      ['<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1:9/">%e;]><a/>'] =
        "line 1: the document must not declare the entity e",
      ["<!DOCTYPE a [<!ATTLIST a b CDATA 'much'>]><a/>"] =
        "line 1: the document must not declare a value for the attribute b",
    }) do
      assert.same({ "decode", expected }, { refusal(xml.parse, s) })
    end
    local doc_with_types = assert(xml.parse("<!DOCTYPE a [<!ATTLIST a b ID #IMPLIED>]><a b='1'/>"))
    assert.equal("a", names(doc_with_types:xpath("id('1')")))
  end)

  it("has limits for bytes, depth, texts and attributes", function()
    assert.equal("too_large", (refusal(xml.parse, "<a/>", { max_bytes = 3 })))
    assert.is_truthy(xml.parse("<a/>", { max_bytes = 4 }))
    local function nest(n) return ("<a>"):rep(n) .. ("</a>"):rep(n) end
    assert.is_truthy(xml.parse(nest(250)))
    assert.same({ "too_large", "line 1: elements are nested too deep" },
      { refusal(xml.parse, nest(300)) })
    assert.same({ "too_large", "line 1: one text is longer than 10 MB" },
      { refusal(xml.parse, "<a>" .. ("x"):rep(11000000) .. "</a>") })
    local attributes = {}
    for i = 1, 5000 do attributes[i] = ("a%d=''"):format(i) end
    assert.same({ "too_large", "line 1: an element has too many attributes" },
      { refusal(xml.parse, "<a " .. table.concat(attributes, " ") .. "/>") })
    assert.is_truthy(xml.parse("<a " .. table.concat(attributes, " ", 1, 4000) .. "/>"))
  end)

  it("has a limit for the memory of a tree", function()
    ends(function()
      local nodes = string.packsize("T") == 4 and 12000000 or 6000000 -- these are smaller
      local kind, message = refusal(xml.parse, "<a>" .. ("<a/>"):rep(nodes) .. "</a>")
      -- a sanitizer makes it so slow that the other limit comes first
      if e2e.sanitized and kind == "timeout" then return end
      assert.same({ "too_large", "the document takes too much memory" }, { kind, message })
    end)
  end)

  it("gives up an element whose attributes would take for ever to compare", function()
    local attributes = {}
    for i = 1, 250000 do attributes[i] = ("a%d=''"):format(i) end
    for _, read in ipairs({ xml.parse, xml.html }) do
      ends(function()
        assert.same({ "too_large", "line 1: an element has too many attributes" },
          { refusal(read, "<a " .. table.concat(attributes, " ") .. "/>") })
      end)
    end
  end)

  it("raises for misuse, at the caller's line", function()
    for message, call in pairs({
      ["xml.parse: the document must be a string, got nil"] = function() xml.parse() end,
      ["xml.html: the document must be a string, got number"] = function() xml.html(1) end,
      ["xml.parse: unknown option 'encodin'; did you mean 'encoding'?"] = function()
        xml.parse("", { encodin = "x" })
      end,
      ["xml.html: option 'max_bytes' must be an integer of at least 1, got 0"] = function()
        xml.html("", { max_bytes = 0 })
      end,
    }) do
      local _, err = pcall(call)
      assert.matches("^spec/fleet/xml_spec%.lua:%d+: (.*)", err)
      assert.equal(message, err:match("lua:%d+: (.*)"))
    end
  end)
end)

describe("xml.html", function()
  it("reads any bytes as a page", function()
    local page = assert(xml.html("<TITLE>&eacute;</title><p Class=a>one<p>two<br>three & <b>four"))
    assert.equal("é", page:xpath("string(/html/head/title)"))
    assert.equal("p p", names(page:xpath("//p")))
    assert.equal("a", page:xpath("//p")[1]:attr("class"))
    assert.equal("twothree & four", page:xpath("//p")[2]:text())
    for _, s in ipairs({ "", " ", "text", "\0", "a\0b", "<", "<a", "</a>", "<a b=", "&", "&#",
      "<!--", "<![CDATA[", "<?", "\xff\xfe", "<frameset><body>", ("<table>"):rep(200) }) do
      assert.is_string(assert(xml.html(s)):text())
    end
    assert.is_nil(xml.html(""):root())
    assert.same({}, xml.html(""):xpath("//a"))
  end)

  it("finds out the encoding, unless it is told", function()
    local latin = "<meta charset=latin1><p>\xfc"
    assert.equal("ü", xml.html(latin):text())
    assert.equal("ü", xml.html("<p>ü"):text())
    assert.equal("ü", xml.html("<p>\xfc"):text())
    assert.equal("Ü", xml.html("<p>\x9a", { encoding = "cp437" }):text())
    assert.equal("Ã¼", xml.html("<meta charset=latin1><p>ü"):text()) -- as browsers read it
  end)

  it("reads pages as the standard of HTML says", function()
    for source, expected in pairs({
      ["<title>vector<int> &amp; <!-- x --></title>"] =
        { "string(/html/head/title)", "vector<int> & <!-- x -->" },
      ["<textarea><p></textarea><script>'<p>'</script><p>"] = { "count(//p)", 1 },
      ["<table><tr><td>1</table>"] = { "count(/html/body/table/tbody/tr/td)", 1 },
      ["<table>before<tr><td>1</table>"] =
        { "string(//table/preceding-sibling::text())", "before" },
      ["<b>1<p>2</b>3"] = { "string(/html/body/p/b)", "2" },
      ["<p>1<div>2</div></p>"] = { "count(//p)", 2 },
      ["<a href=1><a href=2>x"] = { "count(//a/a)", 0 },
      ["<body><noscript><p>x</noscript>"] = { "string(//noscript/p)", "x" },
      ["<template><p>x</template>"] = { "string(//template/p)", "x" },
      ["<custom-Tag A-b:c=1>x"] = { "string(//custom-tag[@A-b:c or @a-b:c])", "" },
      ["<fb:like>x"] = { "string(//*[name()='fb:like'])", "x" },
      ["<p>&notit; &amp &#x80; &#0;"] = { "string(//p)", "¬it; & € \u{fffd}" },
      ["<p>1\r\n2\r3"] = { "string(//p)", "1\n2\n3" },
      ["<!--><p>x<!-- y --!>z"] = { "string(/html/body/p)", "xz" },
      ["<?php echo 1 ?><p>"] = { "count(//comment())", 1 },
      ["<p id=a><p id=a>x"] = { "count(id('a'))", 1 },
      ["<p x=1 x=2 X=3>"] = { "string(//p/@x)", "1" },
      ["<frameset><frame src=x>"] = { "string(/html/frameset/frame/@src)", "x" },
      ["<select><option>1<option>2</select>"] = { "count(//select/option)", 2 },
    }) do
      local found = xml.html(source):xpath(expected[1], { ["A-b"] = "u", ["a-b"] = "u" })
      assert.equal(expected[2], found, source)
    end
    local long = "x-" .. ("y"):rep(1000)
    assert.equal(long, xml.html("<" .. long .. ">"):xpath("//body/*")[1]:name())
    local odd = xml.html("<p a\"b=1 =c=2 <d=3 é=4>"):xpath("//p")[1]
    assert.same({ "1", "2", "3", "4" },
      { odd:attr('a"b'), odd:attr("=c"), odd:attr("<d"), odd:attr("é") })
  end)

  it("has SVG and MathML in their namespaces, and all else in none", function()
    local page = xml.html([==[<svg viewbox=1 xml:lang=de xlink:href=x xmlns:xlink=y>
      <title>icon</title><foreignobject><p>x</p><svg></svg></foreignobject><path/>
      <![CDATA[<a>]]></svg>
      <math><mi>x</mi></math><title>late</title>]==])
    local svg = {
      s = "http://www.w3.org/2000/svg", m = "http://www.w3.org/1998/Math/MathML",
    }
    assert.equal("late", page:xpath("string(//title)"))
    assert.equal("icon", page:xpath("string(//s:title)", svg))
    assert.equal(svg.s, page:xpath("//s:path", svg)[1]:namespace())
    assert.equal(2, #page:xpath("//s:svg", svg))
    assert.equal(1, #page:xpath("//s:foreignObject/p", svg))
    assert.equal("x", page:xpath("string(//m:math/m:mi)", svg))
    local one = page:xpath("//s:svg", svg)[1]
    assert.equal("1", one:attr("viewBox"))
    assert.equal("de", one:attr("lang", "http://www.w3.org/XML/1998/namespace"))
    assert.equal("x", one:attr("href", "http://www.w3.org/1999/xlink"))
    assert.equal("y", one:attr("xmlns:xlink"))
    assert.is_nil(page:root():namespace())
    assert.is_nil(page:xpath("//p")[1]:namespace())
    assert.matches("<a>$", one:text())
  end)

  it("says so where a page is not read to its end", function()
    assert.same({ "too_large", "line 1: elements are nested too deep" },
      { refusal(xml.html, ("<div>"):rep(1000) .. "x") })
    assert.equal("too_large", (refusal(xml.html, "<p>" .. ("x"):rep(11000000))))
    local attributes = {}
    for i = 1, 5000 do attributes[i] = "a" .. i end
    assert.same({ "too_large", "line 1: an element has too many attributes" },
      { refusal(xml.html, "<a " .. table.concat(attributes, " ") .. ">x") })
  end)
end)

describe("xpath", function()
  local doc = assert(xml.parse([[<r xmlns:p="urn:p"><a n="1"/><b><a n="2">x</a></b><p:a n="3"/>
    </r>]]))

  it("gives what the query is of", function()
    assert.equal("a a", names(doc:xpath("//a")))
    assert.equal("1 2 3", (function()
      local found = {}
      for i, node in ipairs(doc:xpath("//@n")) do found[i] = node:text() end
      return table.concat(found, " ")
    end)())
    assert.equal(2, doc:xpath("count(//a)"))
    assert.equal("x", doc:xpath("string(//b)"))
    assert.is_true(doc:xpath("//a = 'x'"))
    assert.is_false(doc:xpath("//a = 'y'"))
    assert.same({}, doc:xpath("//none"))
    assert.equal(math.huge, doc:xpath("1 div 0"))
    local nan = doc:xpath("number('x')")
    assert.is_true(nan ~= nan)
  end)

  it("starts at its node", function()
    local b = doc:xpath("//b")[1]
    assert.equal("a", names(b:xpath(".//a")))
    assert.equal("a a", names(b:xpath("//a")))
    assert.equal("r", names(b:xpath("..")))
    assert.equal("a", names(b:xpath("preceding-sibling::*")))
    assert.equal("b", names(b:xpath("a/@n")[1]:xpath("../..")))
    assert.is_true(b == doc:xpath("//a[@n=2]")[1]:xpath("..")[1])
    assert.is_false(b == doc:root())
  end)

  it("knows the prefixes of that call only", function()
    assert.equal(1, #doc:xpath("//q:a", { q = "urn:p" }))
    assert.same({}, doc:xpath("//q:a", { q = "urn:other" }))
    local found, err = doc:xpath("//q:a")
    assert.is_nil(found)
    assert.equal("usage", err.kind)
    assert.matches("^xpath: Undefined namespace prefix", err.message) -- libxml2 2.15 names it
    assert.error_matches(function() doc:xpath("1", { [""] = "x" }) end, "'' is not a valid prefix")
    assert.error_matches(function() doc:xpath("1", { "x" }) end, "prefixes and their namespaces")
    assert.error_matches(function() doc:xpath("1", 1) end, "table expected")
  end)

  it("says what is wrong with a query, in the words of libxml2", function()
    for query, expected in pairs({
      ["//["] = "xpath: Invalid expression at byte 3",
      ["a/b]"] = "xpath: Invalid expression at byte 4",
      ["f()"] = "xpath: Unregistered function", -- and its name, in one way or another
      ["$x"] = "xpath: Undefined variable",
      ["count()"] = "xpath: Invalid number of arguments",
      ["count(1)"] = "xpath: Invalid type",
      ["//namespace::*"] = "xpath: namespace nodes cannot be returned",
      [("x"):rep(20000)] = "xpath: the query is longer than 16 KiB",
    }) do
      local found, err = doc:xpath(query)
      assert.is_nil(found)
      assert.equal("usage", err.kind)
      assert.equal(expected, err.message:sub(1, #expected))
    end
    local deep = ("("):rep(4000) .. "1" .. (")"):rep(4000)
    assert.matches("Recursion limit exceeded", select(2, doc:xpath(deep)).message)
    assert.error_matches(function() doc:xpath("a\0b") end, "must not contain a NUL byte")
    assert.error(function() doc:xpath() end)
    assert.equal(3, doc:xpath("count(//@n)")) -- and goes on after that
    assert.is_true(doc:xpath("count(//namespace::*) > 0"))
  end)

  it("puts unions together, in the order of the document", function()
    local parts = {}
    for i = 1, 2000 do
      parts[i] = ("<a n='%d'>x</a><b n='%d'><c/>y</b>"):format(2 * i - 1, 2 * i)
    end
    local large = assert(xml.parse("<r>" .. table.concat(parts) .. "</r>"))
    for _, from in ipairs({ doc, large, xml.html("<p><a n=1>x</a><b n=2>y</b>") }) do
      for query, whole in pairs({
        ["//b | //a"] = "//*[self::a or self::b]", ["//@n|//c| //b|//b"] =
          "//@n | //*[self::b or self::c]", ["//text() | //a | /"] = "(//a | //text() | /)",
        ["//a[. = '|'] | //b['|]' != \"'|\"]"] = "//b", ["*[1]|*[2]"] = "*[position() < 3]",
        ["//none | //none"] = "//none", ["id('x') | //a/.."] = "//*[a]",
        ["//comment() | //@n[. > 1]"] = "//@n[. > 1] | //comment()",
      }) do
        local found, expected = from:xpath(query), from:xpath("(" .. whole .. ")")
        assert.equal(#expected, #found, query)
        for i = 1, #expected do assert.is_true(expected[i] == found[i], query) end
      end
    end
    -- an operator that binds less makes it none
    assert.equal(2, doc:xpath("count(//a | //none)"))
    assert.is_true(doc:xpath("//b | //a = 'x'"))
    assert.is_true(doc:xpath("'x' = //b | //a"))
    assert.is_true(doc:xpath("//none or //b | //a"))
    assert.equal(-1, doc:xpath("- //a/@n | //b/@n"))
    assert.equal(2, doc:xpath("1 + //a/@n | //b/@n"))
    for _, query in ipairs({ "| //a", "//a || //b", "//a | 1", "//a | 'x", "//a[ | //b" }) do
      local found, err = doc:xpath(query)
      assert.is_nil(found)
      assert.equal("usage", err.kind, query)
    end
    assert.equal("xpath: namespace nodes cannot be returned",
      select(2, doc:xpath("//a | //namespace::*")).message)
    local b = large:xpath("//b")[1]
    assert.equal("a c", names(b:xpath("c | preceding-sibling::a")))
  end)

  it("gives up queries that take too long", function()
    local parts = {}
    for i = 1, 20000 do parts[i] = ("<a>x%d</a><b>y%d</b>"):format(i, i) end
    local large = assert(xml.parse("<r>" .. table.concat(parts) .. "</r>"))
    for _, query in ipairs({
      "//a[. = //b]", "count(//*[count(//*) > 3])", "//a[contains(string(/), 'zz')]",
      "//a[following::b = preceding::b]",
    }) do
      ends(function()
        local found, err = large:xpath(query)
        assert.is_nil(found)
        assert.equal("timeout", err.kind)
      end)
    end
    assert.equal(20000, #large:xpath("//a"))
    assert.equal(40000, #large:xpath("//b | //a"))
    assert.equal("y20000", large:xpath("//b[last()]")[1]:text())
  end)
end)

describe("a document", function()
  it("lives as long as a node of it", function()
    local nodes = {}
    for i = 1, 50 do
      nodes[i] = xml.parse(("<a><b>text %d</b></a>"):format(i)):xpath("//b")[1]
    end
    collectgarbage()
    collectgarbage()
    for i = 1, 50 do
      assert.equal("text " .. i, nodes[i]:text())
      assert.equal("a", nodes[i]:xpath("..")[1]:name())
    end
  end)

  it("ends by close, twice too, and then raises, and its nodes with it", function()
    local node
    do
      local doc <close> = xml.parse("<a>x<b/>y</a>")
      node = doc:root()
      doc:close()
      doc:close()
      assert.error_matches(function() doc:xpath("1") end, "the document is closed")
      assert.error_matches(function() doc:root() end, "the document is closed")
    end
    for _, method in ipairs({ "text", "name", "kind", "namespace" }) do
      assert.error_matches(function() node[method](node) end, "the document is closed")
    end
    assert.error_matches(function() node:attr("x") end, "the document is closed")
    assert.error_matches(function() node:xpath("1") end, "the document is closed")
  end)

  it("may be closed by a finalizer amid a query", function()
    for _ = 1, 20 do
      local parts = {}
      for i = 1, 2000 do parts[i] = "<b>x<c/>y</b>" end
      local doc = xml.parse("<a>" .. table.concat(parts) .. "</a>")
      setmetatable({}, { __gc = function() doc:close() end })
      local ok, list = pcall(doc.xpath, doc, "//b")
      for i = 1, ok and #list or 0 do
        if not pcall(list[i].text, list[i]) then break end
      end
    end
  end)

  it("is collected though the collector does not see its size", function()
    local page = "<p>" .. ("<b>x</b>"):rep(20000)
    local function resident()
      local file = assert(io.open("/proc/self/status"))
      local kib = file:read("a"):match("VmRSS:%s*(%d+)")
      file:close()
      return tonumber(kib) / 1024
    end
    for _ = 1, 5 do xml.html(page) end
    local before = resident()
    for _ = 1, 100 do xml.html(page):xpath("count(//b)") end
    assert.is_true(resident() - before < (e2e.sanitized and 1000 or 100))
  end)

  it("that memory is not enough for is an error of that kind, and the next one is read", function()
    if e2e.sanitized then return pending("a sanitizer needs room of its own") end
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write([[
      local xml = require("fleet.xml")
      local doc = assert(xml.parse("<a>" .. ("<b>x</b>"):rep(1000) .. "</a>"))
      local function try(value, err)
        print(value and "fine" or err.kind)
        collectgarbage()
        collectgarbage()
      end
      try(xml.html(("<p>x"):rep(300000)))
      try(xml.parse("<a>" .. ("<b>x</b>"):rep(400000) .. "</a>"))
      try(doc:xpath(("//b"):rep(50, "[1] | ")))
      assert(xml.html("<p>x"):text() == "x" and xml.parse("<a>x</a>"):text() == "x")
    ]])
    file:close()
    local seen = {}
    for kib = 75000, 400000, 25000 do
      local pipe = assert(io.popen(("ulimit -v %d && exec %s run %s 2>&1"):format(kib,
        os.getenv("MOONFLEET") or "build/moonfleet", script)))
      for line in pipe:lines() do -- what is not one word is said of a start without enough
        if line:find("^[%a_]+$") then seen[line] = true end
      end
      pipe:close()
    end
    os.remove(script)
    assert.same({ memory = true, fine = true }, seen)
  end)

  it("is no argument for what wants another userdata", function()
    local doc = xml.parse("<a/>")
    assert.error(function() doc.root(io.stdout) end)
    assert.error(function() doc.close(doc:root()) end)
    assert.error(function() doc:root().name({}) end)
    assert.error(function() debug.getmetatable(doc).__gc(io.stdout) end, "bad argument #1 to "
      .. "'__gc' (fleet.xml.document expected, got FILE*)")
  end)
end)
