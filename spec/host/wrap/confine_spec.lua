-- SPDX-License-Identifier: MIT
-- What a worker process may not do, even one whose job has the whole of Lua
-- (host/wrap/confine.c): here the library's sandbox is left out.

local e2e = require("spec.support.e2e")
local lfs = require("lfs")
local raw = require("spec.support.raw")
local sys = require("host.sys")

local RUNNER = [[
  return { prepare = function(definition)
    return assert(load(definition.source, "=job"))(), definition.concurrency
  end }
]]

describe("a worker", function()
  local world, node, driver

  local function open(options)
    world = e2e.new()
    for _, name in ipairs({ "lua", "lua/fleet", "lua/fleet/worker" }) do
      lfs.mkdir(world:path(name))
    end
    world:write("lua/fleet/worker/runner.lua", RUNNER)
    options.workers, options.flags = 1, { "--lua-path", world:path("lua") }
    node = world:node(options)
    driver = raw.open(node.address)
  end

  after_each(function()
    driver:close()
    world:close()
  end)

  local count = 0
  before_each(function() count = 0 end)

  --- Runs the body of a function of `path` in the worker, and returns what it returns.
  local function run(body)
    count = count + 1
    driver:send(count, { source = ("return function(path) %s end"):format(body), concurrency = 1 },
      count, { world:path("file") })
    local value, err = driver:result(count)
    if err then error(err.message, 2) end
    return value
  end

  local can_filter = sys.can_filter() and not e2e.sanitized
  local function filtered(name, test)
    it(name, can_filter and test or function() pending("no seccomp, or a sanitizer") end)
  end

  it("has a few variables of the node's environment", function()
    open({ env = { "AWS_SECRET_ACCESS_KEY=canary", "https_proxy=http://u:p@127.0.0.1:1", "HOME=/x",
      "TZ=Asia/Tokyo", "LC_TIME=C", "SSL_CERT_DIR=/certs", "LCX=1", "XTZ=1", "TZX=1" } })
    assert.same({ false, false, false, false, false, false, false, "Asia/Tokyo", "C", "/certs" },
      run([[
        local values = {}
        for name in ("AWS_SECRET_ACCESS_KEY https_proxy HOME PATH LCX XTZ TZX TZ LC_TIME "
          .. "SSL_CERT_DIR"):gmatch("%S+") do
          values[#values + 1] = os.getenv(name) or false
        end
        return values
      ]]))
    assert.is_nil(run("return io.open('/proc/self/environ'):read('a')"):find("canary", 1, true))
  end)

  it("has no capabilities, gets no privileges, dumps no core", function()
    open({})
    local status = run("return io.open('/proc/self/status'):read('a')")
    for _, set in ipairs({ "CapInh", "CapPrm", "CapEff", "CapAmb" }) do
      assert.matches("^0+$", status:match(set .. ":%s*(%x+)"), set)
    end
    if status:match("Uid:%s*(%d+)") == "0" then
      assert.matches("^0+$", status:match("CapBnd:%s*(%x+)"))
    end
    assert.equal("1", status:match("NoNewPrivs:%s*(%d)"))
    local limits = run("return io.open('/proc/self/limits'):read('a')")
    assert.matches("Max core file size%s+0%s+0 ", limits)
    local soft, hard = limits:match("Max open files%s+(%d+)%s+(%d+)")
    assert.equal(soft, hard)
    assert.is_true(tonumber(soft) <= 4096)
  end)

  filtered("reads files, and changes none", function()
    open({})
    world:write("file", "here")
    assert.equal("here", run("return io.open(path):read('a')"))
    for _, body in ipairs({
      "return io.open(path, 'w') ~= nil", "return io.open(path, 'a') ~= nil",
      "return io.open(path, 'r+') ~= nil", "return io.open(path .. '2', 'w') ~= nil",
      "return os.remove(path) ~= nil", "return os.rename(path, path .. '2') ~= nil",
      "return (pcall(os.tmpname))",
    }) do
      assert.is_false(run(body), body)
    end
    assert.equal("here", e2e.read(world:path("file")))
    assert.is_false(e2e.exists(world:path("file2")))
  end)

  filtered("starts no program", function()
    open({})
    assert.is_false(run("return os.execute('true') == true"))
    assert.is_false(run("local p = io.popen('echo x') return p ~= nil and p:read('a') == 'x\\n'"))
    assert.equal(0, #e2e.children(e2e.children(node.pid)[1]))
  end)

  filtered("fetches, looks up names and reads pages all the same", function()
    open({})
    assert.same({ "connect", "dns", "t" }, run([[
      local http, xml = require("fleet.http"), require("fleet.xml")
      local _, refused = http.get("http://localhost:1/")
      local _, unknown = http.get("http://no-such-host.invalid/")
      return { refused.kind, unknown.kind, xml.html("<p>t"):xpath("string(//p)") }
    ]]))
  end)

  filtered("is not looked at by others of its user", function()
    local is_root = e2e.read("/proc/self/status"):find("Uid:%s*0%s")
    local nobody = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }
    open({ within = is_root and nobody or nil })
    local become = is_root and table.concat(nobody, " ") or ""
    local function reads(pid)
      return os.execute(("%s cat /proc/%d/environ >/dev/null 2>&1"):format(become, pid)) == true
    end
    assert.is_true(reads(node.pid))
    e2e.wait_until("the worker to be confined", function()
      return not reads(e2e.children(node.pid)[1])
    end)
  end)

  filtered("works without a filter where the kernel has none, and says so", function()
    open({ within = { "python3", "spec/support/no_seccomp.py" }, env = { "TZ=UTC" } })
    assert.equal(1, run("return 1"))
    assert.matches("CapEff:%s*0+\n", run("return io.open('/proc/self/status'):read('a')"))
    assert.matches("worker is not fully confined", node:err())
    local run_doctor = world:run({ "doctor" }, { within = { "python3",
      "spec/support/no_seccomp.py" } })
    assert.matches("workers have no system call filter here", run_doctor.out .. run_doctor.err)
  end)
end)
