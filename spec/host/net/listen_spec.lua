-- SPDX-License-Identifier: MIT
-- Who may connect to a node (host/net/listener.c): over ipc its own user alone, unless --ipc-mode
-- says otherwise; over TCP every account of the machine, which the node says.

local e2e = require("spec.support.e2e")
local lfs = require("lfs")

local NOBODY = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }
local is_root = e2e.read("/proc/self/status"):find("Uid:%s*0%s") ~= nil
local function as_root(name, test)
  it(name, is_root and test or function() pending("not root: cannot be another user") end)
end

describe("a node that listens", function()
  local world, path
  before_each(function()
    world = e2e.new()
    lfs.mkdir(world:path("open"))
    os.execute(("chmod 711 '%s'"):format(world.dir))
    path = world:path("open/socket")
  end)
  after_each(function() world:close() end)

  local function start(umask, ...)
    return world:node({
      workers = 1, url = "ipc://" .. path, flags = { ... },
      within = { "sh", "-c", ("umask %s; exec \"$@\""):format(umask), "sh" },
    })
  end

  local function mode() return lfs.attributes(path, "permissions") end

  local function eval(within)
    return world:run({ "eval", "--peers", "ipc://" .. path, "return 'ran'" }, { within = within })
  end

  it("over ipc has a socket for its user alone, whatever the umask", function()
    for _, umask in ipairs({ "0", "022", "0777" }) do
      local node = start(umask)
      assert.equal("rw-------", mode(), umask)
      assert.equal("ran\n", eval().out)
      assert.is_nil(node:err():find("every account", 1, true))
      node:kill("TERM")
      node:wait()
    end
  end)

  it("over ipc has the mode that is asked for", function()
    start("077", "--ipc-mode", "0660")
    assert.equal("rw-rw----", mode())
    assert.equal("ran\n", eval().out)
  end)

  as_root("over ipc takes no other user, and says so, though the socket lets them", function()
    local node = start("0")
    os.execute(("chmod 777 '%s'"):format(path))
    assert.equal(3, eval(NOBODY).code)
    assert.matches("a connection of another user is refused[^\n]* uid=65534", node:err())
    assert.equal("ran\n", eval().out)
  end)

  as_root("over ipc takes other users when its mode says so", function()
    start("077", "--ipc-mode", "666")
    assert.equal("ran\n", eval(NOBODY).out)
  end)

  as_root("over ipc takes root, whoever it is itself", function()
    os.execute(("chmod 777 '%s'"):format(world:path("open")))
    world:node({ workers = 1, url = "ipc://" .. path, within = NOBODY })
    assert.equal("ran\n", eval().out)
  end)

  it("takes no other name for a socket file, whose mode would be that of the umask", function()
    for _, scheme in ipairs({ "unix", "ws", "inproc" }) do
      local run = world:run({ "serve", "--listen", ("%s://%s"):format(scheme, path) })
      assert.equal(2, run.code)
      assert.matches("an address is tcp://HOST:PORT or ipc:///PATH", run.err, 1, true)
      assert.is_false(e2e.exists(path))
    end
  end)

  it("over TCP says that every account may run code", function()
    local node = world:node({ workers = 1 })
    assert.matches("level=warn[^\n]*every account of this machine may run code as this user",
      node:err())
  end)
end)
