-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local serve = require("fleet.cli.command.serve")
local sys = require("host.sys")

--- What the host is told to serve with these flags.
local function told(flags)
  flags.release = flags.release or "1"
  return assert(serve({ command = "serve", flags = flags, args = {} }))
end

describe("serve", function()
  it("listens on loopback, with a worker for each core, when nothing is said", function()
    assert.same({
      listen = { "tcp://127.0.0.1:5440" }, name = sys.hostname() .. ":5440", release = "1",
      workers = sys.cores(), worker_memory = 2 << 30, allow_hosts = "none", path = package.path,
      cpath = package.cpath,
    }, told({}))
  end)

  it("passes on what is said", function()
    local flags = {
      listen = { "127.0.0.1:7", "[::1]", "ipc:///run/x" }, workers = 3, name = "me",
      release = "2", lua_path = "/lib", worker_memory = 64 << 20,
      allow_hosts = { "loopback", "10.0.0.0/8" }, modules = { "lpeg", "cjson" },
    }
    local options = told(flags)
    flags.allow_hosts, flags.modules = "loopback,10.0.0.0/8", "lpeg,cjson"
    flags.path, flags.cpath = package.path, package.cpath
    flags.listen = { "tcp://127.0.0.1:7", "tcp://[::1]:5440", "ipc:///run/x" }
    assert.same(flags, options)
  end)

  it("is named after the host, and the port of its first address", function()
    assert.equal(sys.hostname() .. ":7", told({ listen = { "127.0.0.1:7", "127.0.0.1:8" } }).name)
    assert.equal(sys.hostname(), told({ listen = { "ipc:///run/x", "127.0.0.1:8" } }).name)
  end)

  it("has one channel over descriptors, whatever else is configured", function()
    local function over(flags)
      flags.listen = { "127.0.0.1:7" } -- not typed
      local options = told(flags)
      return { #options.listen, options.in_fd, options.out_fd, options.lease_exit, options.name }
    end
    assert.same({ 0, 0, 1, 60000, sys.hostname() }, over({ stdio = true }))
    assert.same({ 0, 0, 1, 500, sys.hostname() }, over({ stdio = true, lease_exit = 0.5 }))
    assert.same({ 0, 0, 1, nil, "n" }, over({ stdio = true, lease_exit = 0, name = "n" }))
    assert.same({ 0, 3, 3, nil, "n" }, over({ session_fd = 3, stdio = true, name = "n",
      lease_exit = 0 }))
    assert.equal(2000, told({ lease_exit = 2 }).lease_exit)
    local options, err = serve({
      flags = { stdio = true, listen = { "127.0.0.1:7" } }, args = {},
      origins = { listen = { typed = true, name = "--listen" } },
    })
    assert.is_nil(options)
    assert.same({ "usage", "--stdio serves the driver that started this node, --listen those that "
      .. "connect; a node does one of them" }, { err.kind, err.message })
  end)

  it("limits the memory of workers, or not at all", function()
    assert.equal(0, told({ worker_memory = 0 }).worker_memory)
    local options, err = serve({ flags = { worker_memory = 4096, release = "1" }, args = {} })
    assert.is_nil(options)
    assert.equal("usage", err.kind)
    assert.equal("--worker-memory takes at least 64M, or 0 for no limit, got 4096 bytes",
      err.message)
  end)

  it("takes a mode of octal digits", function()
    assert.equal(tonumber("660", 8), told({ ipc_mode = "660" }).ipc_mode)
    assert.equal(tonumber("600", 8), told({ ipc_mode = "0600" }).ipc_mode)
    assert.is_nil(told({}).ipc_mode)
    for _, bad in ipairs({ "", "6", "68", "1777", "u+w", "rw-", "668", "0o60", "-600" }) do
      local value, err = serve({ flags = { ipc_mode = bad } })
      assert.is_nil(value)
      assert.equal("usage", err.kind)
      assert.equal("--ipc-mode takes three octal digits such as 600 or 660, got '" .. bad .. "'",
        err.message)
    end
  end)

  it("says what form of address is wanted", function()
    local form = "--listen takes HOST:PORT, [IPV6]:PORT or ipc:///PATH (127.0.0.1:%s is this "
      .. "machine alone), got '%s'"
    local port = "--listen takes a port from 1 to 65535, got '%s'"
    for address, message in pairs({
      [":5441"] = form:format("5441", ":5441"),
      ["tcp://:5441"] = form:format("5441", "tcp://:5441"),
      ["127.0.0.1:port"] = form:format("5440", "127.0.0.1:port"),
      ["::1:5:"] = form:format("5440", "::1:5:"), [""] = form:format("5440", ""),
      ["127.0.0.1:0"] = port:format("127.0.0.1:0"), ["[::1]:99999"] = port:format("[::1]:99999"),
    }) do
      local options, err = serve({ flags = { listen = { address }, release = "1" }, args = {} })
      assert.is_nil(options)
      assert.same({ "usage", message }, { err.kind, err.message })
    end
    assert.equal("tcp://127.0.0.1:5440", told({ listen = { "tcp://127.0.0.1" } }).listen[1])
    assert.equal("tcp://[::1]:5440", told({ listen = { "[::1]" } }).listen[1])
    assert.equal("tcp://[::1]:5440", told({ listen = { "::1" } }).listen[1])
  end)
end)

describe("moonfleet serve", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  --- Its exit code and what it says, when it does not start.
  local function refused(...)
    local run = world:run({ "serve", ... })
    assert.equal("", run.out)
    assert.is_nil(run.err:find("traceback", 1, true))
    return run.code, run.err
  end

  it("refuses an address that others could reach", function()
    for _, address in ipairs({ "0.0.0.0:5499", "tcp://[::]:5499", "192.0.2.1:5499" }) do
      local code, said = refused("--listen", address)
      assert.equal(2, code, said)
      assert.equal(("moonfleet: will not listen on %s without --tls DIR: anyone who can connect "
        .. "could run code here; `moonfleet keygen DIR` makes keys\n")
        :format(address:match("[%d.%[:%]]+%d?%f[:]") or address), said)
    end
  end)

  it("listens there with --insecure, which warns and must be typed", function()
    local address = "0.0.0.0:" .. e2e.free_port()
    local node = world:node({ workers = 1, url = address, flags = { "--insecure" } })
    assert.matches("level=warn [^\n]*insecure: anyone who can connect may run code", node:err())
    local code, said = refused("--listen", address)
    assert.equal(2, code, said)
    local run = world:run({ "serve", "--listen", address }, { env = { "MOONFLEET_INSECURE=1" } })
    assert.equal(2, run.code)
    assert.matches("moonfleet: the variable MOONFLEET_INSECURE does not count: --insecure must be "
      .. "typed\n", run.err, 1, true)
    assert.matches("will not listen on 0.0.0.0 without --tls DIR", run.err, 1, true)
  end)

  it("refuses a malformed address", function()
    for _, address in ipairs({ "http://127.0.0.1:5499", "127.0.0.1:port", "127.0.0.1:99999" }) do
      local code, said = refused("--listen", address)
      assert.equal(2, code, said)
      assert.matches("^moonfleet: [^\n]+\n$", said)
    end
  end)

  it("refuses a port in use, and says so", function()
    local node = world:node({ workers = 1 })
    local code, said = refused("--listen", node.address)
    assert.equal(1, code, said)
    assert.matches("^moonfleet: [^\n]*" .. node.address .. "[^\n]* in use[^\n]*\n$", said)
  end)

  it("refuses words that are no flags", function()
    local code, said = refused("now")
    assert.equal(2, code)
    assert.matches("takes no arguments", said, 1, true)
  end)

  it("refuses a number of workers that can only be a mistake", function()
    local code, said = refused("--workers", "100000")
    assert.equal(2, code)
    assert.matches("--workers needs a whole number from 1 to 1024, got '100000'", said, 1, true)
  end)

  it("ignores SIGHUP, and so do its workers", function()
    local node = world:node({ workers = 1 })
    local worker = e2e.children(node.pid)[1]
    e2e.kill(worker, "HUP")
    node:kill("HUP")
    e2e.wait_until("the log", function() return node:err():find("SIGHUP ignored", 1, true) end)
    local run = world:run({ "eval", "--peers", node.address, "6 * 7" })
    assert.equal("42\n", run.out, run.err)
    assert.same({ worker }, e2e.children(node.pid))
  end)

  it("ends well by SIGTERM from its first moment on", function()
    local node = world:program({ "serve", "--listen", "127.0.0.1:" .. e2e.free_port() })
    e2e.wait_until("signals to be taken", function()
      local status = e2e.read(("/proc/%d/status"):format(node.pid)) or ""
      local mask = status:match("^Name:%s*moonfleet\n.*SigBlk:%s*(%x+)")
      return mask and tonumber(mask, 16) & 1 << 14 ~= 0
    end)
    node:kill("TERM")
    assert.equal(0, node:wait().code)
  end)

  it("listens on several addresses at once", function()
    local ports = { e2e.free_port(), e2e.free_port() }
    local listen = ("127.0.0.1:%d,127.0.0.1:%d,ipc://%s"):format(ports[1], ports[2],
      world:path("socket"))
    local node = world:program({ "serve", "--listen", listen, "--workers", 1, "--name", "n" })
    e2e.wait_until("the node", function() return node:err():find("node ready", 1, true) end)
    for address in listen:gmatch("[^,]+") do -- together they are one node
      local run = world:run({ "nodes", "--json", "--peers", address })
      assert.equal(0, run.code, run.err)
      assert.matches('"name":"n"', run.out, 1, true)
    end
    node:kill("TERM")
    assert.equal(0, node:wait().code)
    assert.is_nil(e2e.read(world:path("socket")))
  end)
end)
