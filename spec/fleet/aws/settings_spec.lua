-- SPDX-License-Identifier: MIT

local fake_aws = require("spec.support.fake_aws")
local settings = require("fleet.aws.settings")

local CONFIG, CREDENTIALS = "/home/u/.aws/config", "/home/u/.aws/credentials"

local function world(env, files)
  env = env or {}
  env.HOME = env.HOME or "/home/u"
  return fake_aws.new({ env = env, files = files })
end

describe("the profile", function()
  local files = {
    [CONFIG] = "[default]\nregion = r-default\n[profile build]\nregion = r-build\nrole_arn = arn\n",
    [CREDENTIALS] = "[build]\nregion = from-credentials\naws_access_key_id = A\n[only]\na = 1\n",
  }

  it("is named by flag, AWS_PROFILE, AWS_DEFAULT_PROFILE, or is default", function()
    local w = world({ AWS_DEFAULT_PROFILE = "only" }, files)
    assert.same({ "only", "AWS_DEFAULT_PROFILE", true }, { w:settings():profile_name() })
    w.env.AWS_PROFILE = "build"
    assert.same({ "build", "AWS_PROFILE", true }, { w:settings():profile_name() })
    assert.same({ "x", "flag", true }, { w:settings({ profile = "x" }):profile_name() })
    w.env.AWS_PROFILE, w.env.AWS_DEFAULT_PROFILE = "", nil
    assert.same({ "default", "default", false }, { w:settings():profile_name() })
  end)

  it("has the properties of both files, those of the credentials file first", function()
    local p = assert(world({ AWS_PROFILE = "build" }, files):settings():profile())
    assert.same({ region = "from-credentials", role_arn = "arn", aws_access_key_id = "A" },
      p.values)
    assert.same({ a = "1" }, assert(world({}, files):settings():profile("only")).values)
  end)

  it("that was named must be there", function()
    local p, err = world({ AWS_PROFILE = "biuld" }, files):settings():profile()
    assert.is_nil(p)
    assert.equal("config", err.kind)
    assert.matches("no AWS profile 'biuld' %(AWS_PROFILE%) in /home/u/.aws/config and", err.message)
    assert.matches("there are build, default, only$", err.message)
    err = select(2, world({ AWS_PROFILE = "x" }, { [CONFIG] = "[profile \27]]0;x\7]\n" }):settings()
      :profile())
    assert.matches("there are \\x1b$", err.message)
    p = assert(world({}, {}):settings():profile())
    assert.is_false(p.exists)
    assert.same({}, p.values)
  end)

  it("is read from where the variables say", function()
    local w = world({ AWS_CONFIG_FILE = "~/c", AWS_SHARED_CREDENTIALS_FILE = "/k" }, {
      ["/home/u/c"] = "[default]\na = 1\n", ["/k"] = "[default]\nb = 2\n",
    })
    assert.same({ a = "1", b = "2" }, assert(w:settings():profile()).values)
    w.files["/k"] = "junk"
    local _, err = w:settings():profile()
    assert.matches("^/k:1: ", err.message)
  end)

  it("keeps apart what each of the two files has", function()
    local p = assert(world({ AWS_PROFILE = "build" }, files):settings():profile())
    assert.same({ region = "r-build", role_arn = "arn" }, p.files.config)
    assert.same({ region = "from-credentials", aws_access_key_id = "A" }, p.files.credentials)
    assert.is_nil(assert(world({ AWS_PROFILE = "only" }, files):settings():profile()).files.config)
  end)

  it("is warned of, once, when a variable names a file that is not there", function()
    local w = world({ AWS_CONFIG_FILE = "$HOME/gone", AWS_SHARED_CREDENTIALS_FILE = "/k" },
      { ["/k"] = "" })
    local warned = {}
    local set = settings.new({
      getenv = function(name) return w.env[name] end,
      read = function(path) return w.files[path] end,
      warn = function(message) warned[#warned + 1] = message end,
    })
    for _ = 1, 2 do
      assert(set:profile())
      set:forget()
    end
    assert.same({ "there is no file /home/u/gone, which AWS_CONFIG_FILE names: no profile is read "
      .. "from it" }, warned)
  end)

  it("is read once, until it is forgotten", function()
    local w = world({}, { [CONFIG] = "[default]\na = 1\n" })
    local set = w:settings()
    assert.equal("1", set:value(nil, {}, "a"))
    w.files[CONFIG] = "[default]\na = 2\n"
    assert.equal("1", set:value(nil, {}, "a"))
    set:forget()
    assert.equal("2", set:value(nil, {}, "a"))
  end)
end)

describe("the region", function()
  it("is the flag's, a variable's, the profile's, or the instance's", function()
    local w = world({}, {})
    local set = w:settings()
    set.imds = { region = function() return "eu-north-1" end }
    assert.same({ "eu-north-1", "instance metadata" }, { set:region() })
    w.files[CONFIG] = "[default]\nregion = eu-west-3\n"
    set:forget()
    assert.same({ "eu-west-3", "profile default" }, { set:region() })
    w.env.AWS_DEFAULT_REGION = "eu-west-2"
    assert.same({ "eu-west-2", "AWS_DEFAULT_REGION" }, { set:region() })
    w.env.AWS_REGION = "eu-west-1"
    assert.same({ "eu-west-1", "AWS_REGION" }, { set:region() })
    assert.same({ "x-1", "flag" }, { w:settings({ region = "x-1" }):region() })
  end)

  it("is never made up", function()
    local set = world({}, {}):settings()
    set.imds = { region = function() return nil, { message = "nobody there" } end }
    local region, _, err = set:region()
    assert.is_nil(region)
    assert.equal("config", err.kind)
    assert.matches("no AWS region is set: set AWS_REGION, or region in the profile;.*nobody there",
      err.message)
  end)

  it("is refused when it can be no part of a host name", function()
    for _, name in ipairs({ "eu west 1", "evil.example/", "-a", "a-", "EU-WEST-1", ("a"):rep(64),
      "a\nb", "x" }) do
      local _, _, err = world({ AWS_REGION = name }, {}):settings():region()
      assert.matches("%(AWS_REGION%) is not a region", err.message)
    end
  end)
end)

describe("a setting", function()
  it("that is true or false is nothing else", function()
    local w = world({ A = "TRUE", B = "false", C = "yes" }, {})
    local set = w:settings()
    assert.same({ true, "A" }, { set:flag("A") })
    assert.same({ false, "B" }, { set:flag("B") })
    assert.same({ false }, { set:flag("D") })
    local value, _, err = set:flag("C")
    assert.is_nil(value)
    assert.matches("C must be true or false, not 'yes'", err.message)
  end)

  it("that is a number is a whole one", function()
    local set = world({ A = "5", B = "0", C = "1.5", D = "x" }, {}):settings()
    assert.equal(5, set:count("A", nil, 3))
    assert.equal(3, set:count("E", nil, 3))
    for _, name in ipairs({ "B", "C", "D" }) do
      local value, err = set:count(name, nil, 3)
      assert.is_nil(value)
      assert.matches(name .. " must be a whole number of at least 1", err.message)
    end
  end)
end)

describe("settings.read_file", function()
  it("reads files, has nothing for none, and errors for the rest", function()
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write("text")
    file:close()
    assert.equal("text", settings.read_file(name))
    assert.same({}, { settings.read_file(name .. "/x") })
    assert.same({}, { settings.read_file(name .. ".none") })
    local text, err = settings.read_file("/")
    assert.is_nil(text)
    assert.equal("config", err.kind)
    file = assert(io.open(name, "w"))
    file:write((" "):rep(1024 * 1024 + 1))
    file:close()
    assert.matches("larger than 1048576 bytes", select(2, settings.read_file(name)).message)
    os.remove(name)
  end)
end)

local FILES = {
  ["/proc/self/status"] = "Name:\tx\nUid:\t1000\t1000\t1000\t1000\n",
  ["/etc/passwd"] = "ops:x:7:7:Operators:/srv/ops:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n",
}

local function expand(path, env)
  return settings.new({
    getenv = function(name) return env[name] end, read = function(name) return FILES[name] end,
  }):expand(path)
end

describe("settings:expand", function()
  it("replaces variables, as a shell would have", function()
    local env = { HOME = "/h", A_1 = "x", EMPTY = "" }
    for path, wanted in pairs({
      ["$HOME/c"] = "/h/c", ["${HOME}/c"] = "/h/c", ["/a/$A_1.b"] = "/a/x.b", ["$A_1b"] = "$A_1b",
      ["/${EMPTY}x"] = "/x", ["/$NONE/${NONE}"] = "/$NONE/${NONE}", ["/a$"] = "/a$", ["/a"] = "/a",
      ["a~/b"] = "a~/b",
    }) do
      assert.equal(wanted, expand(path, env))
    end
  end)

  it("replaces ~ by HOME, or else by the account's folder", function()
    assert.equal("/h/c", expand("~/c", { HOME = "/h/" }))
    assert.equal("/h", expand("~", { HOME = "/h" }))
    assert.equal("/c", expand("~/c", { HOME = "/" }))
    assert.equal("/home/me/c", expand("~/c", {}))
    assert.equal("/home/me/c", expand("~/c", { HOME = "" }))
    assert.equal("/srv/ops/c", expand("~ops/c", { HOME = "/h" }))
    assert.equal("~nobody-here/c", expand("~nobody-here/c", { HOME = "/h" }))
  end)

  it("has nothing where nobody has a home", function()
    local function none() return nil end
    local nobody = settings.new({ getenv = none, read = none })
    assert.is_nil(nobody:expand("~/c"))
    assert.equal("/c", nobody:expand("/c"))
  end)
end)
