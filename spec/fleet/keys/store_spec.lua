-- SPDX-License-Identifier: MIT

local errors = require("fleet.errors")
local log = require("fleet.log")
local secret = require("host.secret")
local store = require("fleet.keys.store")
local task = require("host.task")

-- A view of AWS in which the parameters have these versions; `reply` may be an error instead.
local function view_of(reply)
  local view = { calls = {} }
  function view:json(_, _, action, params)
    self.calls[#self.calls + 1] = action .. (params.WithDecryption and " decrypted" or "")
    local answer = reply(#self.calls)
    if type(answer) == "table" then return nil, errors.new(answer) end
    local text = ('{"Parameter":{"Type":"SecureString","Value":"v%d","Version":%d}}'):format(
      answer, answer)
    return params.WithDecryption and secret.new(text) or text
  end
  function view.region() return "eu-west-1" end
  return view
end

describe("the name of keys in a store", function()
  local function refuses(where, pattern)
    local path, err = store.path(where)
    assert.is_nil(path)
    assert.equal("usage", err.kind)
    assert.matches(pattern, err.message)
  end

  it("is a path of Parameter Store", function()
    assert.is_true(store.is_store("ssm:/a"))
    assert.is_false(store.is_store("./ssm:"))
    assert.is_false(store.is_store(nil))
    assert.equal("/moonfleet/search/node", store.path("ssm:/moonfleet/search/node"))
    assert.equal("/moonfleet/search", store.path("ssm:/moonfleet/search/"))
    assert.equal("", store.path("ssm:"))
    refuses("/etc/keys", "stored as ssm:/PATH, such as ssm:/moonfleet/search, got '/etc/keys'")
    for _, where in ipairs({ "ssm:a", "ssm:/", "ssm://a", "ssm:/a//b", "ssm:/a b", "ssm:/a\nb",
      "ssm:/é", "ssm:/" .. ("a"):rep(901), "ssm:" .. ("/a"):rep(15) }) do
      refuses(where, "names no parameter")
    end
    refuses("ssm:/AWS/x", "names that begin with aws or ssm to itself")
    refuses("ssm:/ssmx", "names that begin with aws or ssm to itself")
  end)

  it("is by default that of the own fleet and role", function()
    local tag, why
    local imds = { tag = function(_, key)
      assert.equal("moonfleet:fleet", key)
      return tag, why
    end }
    assert.equal("ssm:/moonfleet/ads/driver", store.resolve("ssm:", "driver", "ads", imds))
    tag = "search"
    assert.equal("ssm:/moonfleet/search/node", store.resolve("ssm:", "node", nil, imds))
    assert.equal("ssm:/a/b", store.resolve("ssm:/a/b", "node", nil, nil))
    tag = "bad name"
    assert.matches("names no parameter",
      select(2, store.resolve("ssm:", "node", nil, imds)).message)
    tag = nil
    local _, err = store.resolve("ssm:", "node", nil, imds)
    assert.equal("usage", err.kind)
    assert.matches("tag moonfleet:fleet names, and there is none, or InstanceMetadataTags is not "
      .. "enabled: name them, %-%-tls ssm:/moonfleet/FLEET/node, or give %-%-fleet", err.message)
    why = { kind = "connect", message = "no answer" }
    _, err = store.resolve("ssm:", "node", nil, imds)
    assert.equal("connect", err.kind) -- it may be read later
    assert.matches("which cannot be read %(no answer%)", err.message)
  end)
end)

describe("keys in a store", function()
  local warn, info, said
  before_each(function()
    warn, info, said = log.warn, log.info, {}
    local function note(message, fields)
      said[#said + 1] = message .. (fields.error and ": " .. fields.error or "")
    end
    log.warn, log.info = note, note
  end)
  after_each(function() log.warn, log.info = warn, info end)

  it("are decrypted only when there is another version", function()
    local versions = { 3, 3, 4, 4, 4 }
    local view = view_of(function(n) return versions[n] end)
    local stored = store.new(view, "ssm:/a/node")
    assert.equal(2, assert(stored:fetch()):size())
    assert.same({}, { stored:fetch_if_new() })
    assert.equal(2, assert(stored:fetch_if_new()):size())
    assert.equal(4, stored.version)
    assert.same({}, { stored:fetch_if_new() })
    assert.same({ "GetParameter decrypted", "GetParameter", "GetParameter",
      "GetParameter decrypted", "GetParameter" }, view.calls)
  end)

  it("are waited for by a node that starts", function()
    local missing = { kind = "service", code = "ParameterNotFound", message = "x" }
    local no_role = { kind = "credentials", message = "the instance has no role" }
    local view = view_of(function(n) return n == 1 and no_role or 1 end)
    assert(store.new(view, "ssm:/a/node"):wait(3))
    assert.same({ "waiting for the keys: the instance has no role" }, said)
    view = view_of(function() return missing end)
    local found, err = store.new(view, "ssm:/a/node"):wait(1)
    assert.is_nil(found)
    assert.equal("there is no parameter /a/node in eu-west-1 (another region: --region or "
      .. "AWS_REGION); `moonfleet keygen DIR --store ssm:/a` stores the keys of a fleet",
      err.message)
    view = view_of(function() return { kind = "config", message = "no region" } end)
    found, err = store.new(view, "ssm:/a/node"):wait(60)
    assert.is_nil(found)
    assert.same({ "no region", 1 }, { err.message, #view.calls })
  end)

  it("are followed: taken when they are new, read again when they were of no use", function()
    local state = { version = 1 }
    local view = view_of(function() return state.version end)
    local stored, taken, failed = store.new(view, "ssm:/a/node"), 0, false
    assert(stored:fetch())
    local wake = task.event()
    local following = task.start(stored.follow, stored, function() taken = taken + 1 end,
      function() return failed end, wake, 3600)
    local function look()
      local calls = #view.calls
      wake:notify()
      while #view.calls == calls do task.sleep(0.001) end
      task.sleep(0.005)
    end
    look()
    assert.equal(0, taken)
    state.version = 2
    look()
    assert.equal(1, taken)
    failed = true
    look()
    assert.equal(2, taken)
    failed, state.version = false, { kind = "timeout", message = "no answer" }
    look()
    look()
    state.version = 2
    look()
    assert.same({ "the keys in use stay, since the store cannot be read: no answer",
      "the store of the keys can be read again" }, said)
    assert.equal(2, taken)
    following:cancel()
  end)
end)
