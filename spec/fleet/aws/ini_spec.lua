-- SPDX-License-Identifier: MIT

local ini = require("fleet.aws.ini")

local function config(text) return assert(ini.parse(text, "config", "config")) end
local function credentials(text) return assert(ini.parse(text, "credentials", "credentials")) end

describe("ini.parse", function()
  it("reads profiles and services of the config file", function()
    local file = config([[
[default]
region = eu-west-1
[profile build]
region=us-east-2
services = local
[profile "with blank"]
region = x
[ profile   spaced ]
output = json
[sso-session corp]
sso_region = eu-west-1
[services local]
ec2 =
  endpoint_url = http://127.0.0.1:5000
  other = 1
s3 =
    endpoint_url = http://127.0.0.1:5001
[plugins]
cli = x
[nobody]
region = ignored
]])
    assert.same({
      default = { region = "eu-west-1" },
      build = { region = "us-east-2", services = "local" },
      ["with blank"] = { region = "x" },
      spaced = { output = "json" },
    }, file.profiles)
    assert.same({ ["local"] = {
      ec2 = { endpoint_url = "http://127.0.0.1:5000", other = "1" },
      s3 = { endpoint_url = "http://127.0.0.1:5001" },
    } }, file.services)
  end)

  it("reads every title as a profile's name in the credentials file", function()
    local file = credentials("[default]\naws_access_key_id = A\n[profile x]\na = 1\n[build]\nb = 2")
    assert.same({ default = { aws_access_key_id = "A" }, ["profile x"] = { a = "1" },
      build = { b = "2" } }, file.profiles)
  end)

  it("takes properties that are indented, and a colon for =", function()
    local properties = { a = "1", b = "2 = 3", s3 = { x = "1" }, c = "d\ne" }
    for _, text in ipairs({ "[default]\n  a = 1\n  b: 2 = 3\n  s3 =\n    x = 1\n  c = d\n   e\n",
      "[default]\n    a = 1\n  b: 2 = 3\ns3 =\n\tx = 1\nc = d\n  e\n",
      "  [default]\n\ta: 1\n\tb:2 = 3\n\ts3:\n\t\tx = 1\n\tc: d\n\t e" }) do
      assert.same({ default = properties }, config(text).profiles)
    end
    assert.same({ default = { a = "1" }, b = { a = "2" } },
      config("[default]\n  a = 1\n[profile b]\n  a = 2\n").profiles)
  end)

  it("takes from no value what stands in credential_process", function()
    local file = config("[default]\ncredential_process = sh -c 'a ; b' # c\nregion = x # y\n")
    assert.same({ credential_process = "sh -c 'a ; b' # c", region = "x" }, file.profiles.default)
  end)

  it("takes text behind a title, and titles in quotes", function()
    local file = config("[default] ; x\na = 1\n[profile 'a b'] y\nb = 2\n[profile a b]\nc = 3\n"
      .. "[profile 'x]\nd = 4\n")
    assert.same({ default = { a = "1" }, ["a b"] = { b = "2" } }, file.profiles)
  end)

  it("has the properties of [DEFAULT] in the sections that do not say otherwise", function()
    local file = config("[default]\na = 1\n[DEFAULT]\na = 2\nb = 3\n[profile x]\n")
    assert.same({ default = { a = "1", b = "3" }, x = { a = "2", b = "3" } }, file.profiles)
    assert.same({}, config("[DEFAULT]\na = 1\n").profiles)
  end)

  it("takes the blanks of Unicode for blanks at the ends of a line", function()
    local file = config("\u{A0}[default]\u{3000}\n\u{2003} a\u{A0}=\u{A0} x\u{A0}y \u{202F}\n")
    assert.same({ default = { a = "x\u{A0}y" } }, file.profiles)
  end)

  it("refuses bytes that are not text, in one line", function()
    for bytes, wanted in pairs({
      ["\xFF\xFE[\0d\0"] = "^f: the file is in UTF%-16; save it as UTF%-8$",
      ["\xFE\xFF\0["] = "^f: the file is in UTF%-16",
      ["[default]\nx = \xE9\n"] = "^f: byte 15 is not text in UTF%-8; save the file as UTF%-8, or",
      ["[default]\0"] = "^f: byte 10 is not text in UTF%-8",
      ["\x7FELF\2\1\1\0\0"] = "^f: byte 8 is not text",
    }) do
      local file, err = ini.parse(bytes, "f", "config")
      assert.is_nil(file)
      assert.equal("config", err.kind)
      assert.matches(wanted, err.message)
      assert.not_matches("\n", err.message)
    end
  end)

  it("leaves out comments and blanks", function()
    local file = config("# one\n; two\n  # three\n\n[default] # four\n[default]; five\n"
      .. "region = eu-west-1 # six\noutput = json ; seven\nurl = http://h/#a;b\nkey = a#b\n"
      .. "none = # eight\n\t ; nine\n")
    assert.same({ default = {
      region = "eu-west-1", output = "json", url = "http://h/#a;b", key = "a#b", none = "",
    } }, file.profiles)
  end)

  it("takes DOS and Mac line ends, a byte order mark, and a last line without an end", function()
    local file = config("\xEF\xBB\xBF[default]\r\nregion = eu-west-1\r\n\r\n"
      .. "s3 =\r\n  a = 1\rb = 2")
    assert.same({ default = { region = "eu-west-1", s3 = { a = "1" }, b = "2" } }, file.profiles)
  end)

  it("joins lines that go on, and sections of one name", function()
    local file = config("[profile a]\nx = one\n  two\n\n  three = 3\ny = 1\n[default]\n"
      .. "[profile a]\ny = 2\nz = 3\n")
    assert.same({ x = "one\ntwo\n\nthree = 3", y = "2", z = "3" }, file.profiles.a)
  end)

  it("has names of properties in lower case, those of profiles as written", function()
    local file = config("[profile A]\nRegion = X\n[profile a]\nREGION = Y\n")
    assert.same({ A = { region = "X" }, a = { region = "Y" } }, file.profiles)
  end)

  it("has the later of two titles of one profile", function()
    assert.same({ default = { a = "2" } },
      config("[default]\na = 1\nb = 1\n[profile default]\na = 2\n").profiles)
    assert.same({ default = { a = "1", b = "1" } },
      config("[profile default]\na = 2\n[default]\na = 1\nb = 1\n").profiles)
    assert.same({ x = { b = "2" } },
      config("[profile x]\na = 1\n[profile 'x']\nb = 2\n").profiles)
  end)

  it("says where and what is wrong", function()
    for text, wanted in pairs({
      ["a = 1"] = "^file:1: this stands before any section; put %[default%]",
      ["[default]\n\nregion"] = "^file:3: no '='; write it as name = value",
      ["[default]\n= x"] = "^file:2: there is no name before '='",
      ["[default"] = "^file:1: a section has no end; write it as %[name%]",
      ["[]"] = "^file:1: a section has no name",
      ["[default]\n  a = 1\n b"] = "^file:3: no '='",
      ["[default]\n: x"] = "^file:2: there is no name before ':'",
      ["[default]\ns3 =\n  junk"] = "^file:3: no '='",
    }) do
      local file, err = ini.parse(text, "file", "config")
      assert.is_nil(file)
      assert.equal("config", err.kind)
      assert.matches(wanted, err.message)
    end
  end)

  it("takes time in proportion to the text, whatever it is", function()
    for _, unit in ipairs({
      " ", "\n", "\t#", "[", "]", "=", "a", "a =\n", " a=\n", "[a]\n", " ;",
    }) do
      local text = "[default]\na = b\n" .. unit:rep(300000 // #unit)
      local start = os.clock()
      ini.parse(text, "f", "config")
      ini.parse("[default]\nx = y " .. unit:rep(200000 // #unit) .. "y", "f", "config")
      assert.is_true(os.clock() - start < 20, unit)
    end
  end)

  it("never raises", function()
    math.randomseed(7)
    local pieces = { "[", "]", "profile ", "default", "=", "a", " ", "\n", "\r", "#", ";", "\0",
      "\xff", "services x", "'", '"', "\t" }
    for _ = 1, 20000 do
      local parts = {}
      for i = 1, math.random(12) do parts[i] = pieces[math.random(#pieces)] end
      local kind = math.random(2) == 1 and "config" or "credentials"
      local file, err = ini.parse(table.concat(parts), "f", kind)
      assert.is_true(type(file) == "table" or err.kind == "config")
    end
  end)
end)
