-- SPDX-License-Identifier: MIT

local ini = require("fleet.aws.ini")

local function config(text) return assert(ini.parse(text, "config", "config")) end
local function credentials(text) return assert(ini.parse(text, "credentials", "credentials")) end

describe("ini.parse", function()
  it("reads profiles, sessions and services of the config file", function()
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
    assert.same({ corp = { sso_region = "eu-west-1" } }, file.sso)
    assert.same({ ["local"] = {
      ec2 = { endpoint_url = "http://127.0.0.1:5000", other = "1" },
      s3 = { endpoint_url = "http://127.0.0.1:5001" },
    } }, file.services)
  end)

  it("reads plain names as profiles in the credentials file", function()
    local file = credentials("[default]\naws_access_key_id = A\n[profile x]\na = 1\n[build]\nb = 2")
    assert.same({ default = { aws_access_key_id = "A" }, build = { b = "2" } }, file.profiles)
  end)

  it("leaves out comments and blanks", function()
    local file = config("# one\n; two\n  # three\n\n[default] # four\n[default]; five\n"
      .. "region = eu-west-1 # six\noutput = json ; seven\nurl = http://h/#a;b\nkey = a#b\n"
      .. "none = # eight\n\t ; nine\n")
    assert.same({ default = {
      region = "eu-west-1", output = "json", url = "http://h/#a;b", key = "a#b", none = "",
    } }, file.profiles)
  end)

  it("takes DOS line ends, a byte order mark, and a last line without an end", function()
    local file = config("\xEF\xBB\xBF[default]\r\nregion = eu-west-1\r\n\r\n"
      .. "s3 =\r\n  a = 1\r\nb = 2")
    assert.same({ default = { region = "eu-west-1", s3 = { a = "1" }, b = "2" } }, file.profiles)
  end)

  it("joins lines that go on, and sections of one name", function()
    local file = config("[profile a]\nx = one\n  two\n\n  three = 3\ny = 1\n[default]\n"
      .. "[profile a]\ny = 2\nz = 3\n")
    assert.same({ x = "one\ntwo\nthree = 3", y = "2", z = "3" }, file.profiles.a)
  end)

  it("has names of properties in lower case, those of profiles as written", function()
    local file = config("[profile A]\nRegion = X\n[profile a]\nREGION = Y\n")
    assert.same({ A = { region = "X" }, a = { region = "Y" } }, file.profiles)
  end)

  it("prefers [profile default] to [default]", function()
    for _, text in ipairs({ "[default]\na = 1\nb = 1\n[profile default]\na = 2\n",
      "[profile default]\na = 2\n[default]\na = 1\nb = 1\n" }) do
      assert.same({ default = { a = "2" } }, config(text).profiles)
    end
  end)

  it("says where and what is wrong", function()
    for text, wanted in pairs({
      ["a = 1"] = "^file:1: this stands before any section; put %[default%]",
      ["[default]\n\nregion"] = "^file:3: no '='; write it as name = value",
      ["[default]\n= x"] = "^file:2: there is no name before '='",
      ["[default"] = "^file:1: a section has no end; write it as %[name%]",
      ["[]"] = "^file:1: a section has no name",
      ["[default] x"] = "^file:1: there is more after the section's name",
      ["[default]\n  a = 1"] = "^file:2: an indented line goes on with a property",
      ["[default]\ns3 =\n  junk"] = "^file:3: no '='",
    }) do
      local file, err = ini.parse(text, "file", "config")
      assert.is_nil(file)
      assert.equal("config", err.kind)
      assert.matches(wanted, err.message)
    end
    assert.matches("larger than", select(2, ini.parse((" "):rep(1024 * 1024 + 1), "f",
      "config")).message)
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
