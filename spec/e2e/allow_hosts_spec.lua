-- SPDX-License-Identifier: MIT
-- What jobs may connect to: requests that a node forges for somebody else, by every way that is
-- known. Two web servers of this machine play a public one and one that nobody may reach.

local e2e = require("spec.support.e2e")
local lfs = require("lfs")

local JOB = [[
local http = require("fleet.http")
return { map = function(url)
  local response, err = http.get(url, { timeout = 20 })
  return response and response.body or err.kind .. ": " .. err.message
end }
]]

-- 127.0.0.2 may be reached, 127.0.0.3 must not be. The path /to/URL redirects.
local NGINX = [[
user root;
daemon off;
master_process off;
pid DIR/nginx.pid;
events {}
http {
  client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
  uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
  access_log off;
  server {
    listen 127.0.0.2:PORT; listen 127.0.0.2:OTHER;
    merge_slashes off;
    location / { return 200 "two"; }
    location ~ ^/to/(.*)$ { return 302 http://$1; }
  }
  server {
    listen 127.0.0.3:PORT; listen 127.0.0.3:OTHER; listen [::1]:PORT;
    access_log DIR/three.log;
    location / { return 200 "three"; }
  }
}
]]

--- Starts both web servers; they are of the world.
local function start_servers(world, within)
  local servers = { port = e2e.free_port(), other = e2e.free_port() }
  local config = world:write("nginx.conf", (NGINX:gsub("DIR", world.dir)
    :gsub("PORT", servers.port):gsub("OTHER", servers.other)))
  local p = world:start({ "nginx", "-p", world.dir, "-e", "stderr", "-c", config },
    { env = { "PATH=" .. os.getenv("PATH") .. ":/usr/sbin" }, within = within })
  e2e.wait_until("nginx", function()
    if not p:alive() then error("nginx does not start: " .. p:err()) end
    return e2e.exists(world.dir .. "/nginx.pid") and (e2e.read(world.dir .. "/nginx.pid") ~= "")
  end)
  --- Requests that the forbidden server has had.
  function servers.reached() return e2e.read(world.dir .. "/three.log") end
  return servers
end

describe("a node that allows 127.0.0.2", function()
  local world, servers, node
  setup(function()
    world = e2e.new()
    servers = start_servers(world)
    node = world:node({ workers = 1, allow_hosts = "127.0.0.2/32", env = {
      ("http_proxy=http://127.0.0.3:%d"):format(servers.port), "no_proxy=",
      ("all_proxy=http://127.0.0.3:%d"):format(servers.port),
    } })
  end)
  teardown(function() world:close() end)

  --- What the job says about each URL.
  local function fetch(urls)
    local run = world:run({ "run", "--peers", node.address, world:write("job.lua", JOB),
      world:items(urls) })
    assert.equal(0, run.code, run.err)
    local list = {}
    for i, result in ipairs(e2e.results(run.out)) do list[i] = result.value end
    return list
  end

  local function at(host, path)
    return ("http://%s:%d/%s"):format(host, servers.port, path or "")
  end

  it("lets jobs reach that, however it is written", function()
    assert.same({ "two", "two", "two", "two", "two" }, fetch({ at("127.0.0.2"), at("2130706434"),
      at("0x7f.2"), at("[::ffff:127.0.0.2]"), at("127.0.0.2", "to/127.0.0.2:" .. servers.port) }))
  end)

  it("refuses another, names it, and says which flag allows it", function()
    assert.same({ ("refused: http://127.0.0.3:%d/: jobs may not reach 127.0.0.3 (loopback) here; "
      .. "to allow it, add it to --allow-hosts of serve, or of run, eval or repl for a private "
      .. "node or --ssh"):format(servers.port) }, fetch({ at("127.0.0.3") }))
  end)

  it("refuses every notation of another, at once and by a redirect", function()
    local hosts = {
      "127.0.0.3", "2130706435", "0x7f000003", "0x7f.0.0.3", "0177.0.0.03", "127.3", "127.0.3",
      "017700000003", "localhost", "127.0.0.1", "127.0.0.3.", "0", "0.0.0.0",
      "[::ffff:127.0.0.3]", "[::ffff:7f00:3]", "[0:0:0:0:0:ffff:7f00:0003]", "[::127.0.0.3]",
      "[::1]", "[0:0:0:0:0:0:0:1]", "[::]",
      -- NAT64, also of the address that is allowed: who knows where it leads
      "[64:ff9b::127.0.0.3]", "[64:ff9b::7f00:2]", "[64:ff9b:1::7f00:2]",
      "[2002:7f00:3::1]", "[2001:0:7f00:3::1]", "[::ffff:0:127.0.0.3]",
      "[fe80::1%25lo]", "[::1%25lo]", "[fe80::1]",
      -- fullwidth digits, which become ASCII
      "１２７.０.０.３", "127。0。0。3",
      "user:password@127.0.0.3",
    }
    local urls = {}
    for _, host in ipairs(hosts) do
      urls[#urls + 1] = at(host)
      urls[#urls + 1] = at("127.0.0.2", ("to/%s:%d/"):format(host, servers.port))
    end
    for i, said in ipairs(fetch(urls)) do
      -- libcurl may refuse an odd host by itself
      assert.is_truthy(said:find("^refused: .* %-%-allow%-hosts") or said:find("^url: ")
        or said:find("^dns: "), urls[i] .. ": " .. said)
    end
    assert.equal("", servers.reached())
  end)

  it("uses no proxy, of the environment or of the job", function()
    assert.same({ "two" }, fetch({ at("127.0.0.2") }))
    local run = world:run({ "eval", "--peers", node.address,
      ("pcall(http.get, '%s', { proxy = 'http://127.0.0.3:%d' })"):format(at("127.0.0.2"),
        servers.port) })
    assert.matches("unknown option 'proxy'", run.out, 1, true)
    assert.equal("", servers.reached())
  end)
end)

describe("names", function()
  local world, within, servers, node, dns, hosts
  local has_names = os.execute("unshare -Urnm true 2>/dev/null")

  setup(function()
    if not has_names then return end
    -- a machine of its own, with one name server
    world = e2e.new()
    local resolver = world:write("resolv.conf", "nameserver 127.0.0.1\n")
    local holder = world:start({ "unshare", "-Urnm", "sh", "-ec", "PATH=$PATH:/usr/sbin:/sbin; "
      .. "ip link set lo up; mount --bind " .. resolver .. " /etc/resolv.conf; "
      .. "echo ready; exec sleep 3600" })
    e2e.wait_until("a namespace", function()
      if not holder:alive() then error("no namespace: " .. holder:err()) end
      return holder:out() == "ready\n"
    end)
    within = { "nsenter", "-t", tostring(holder.pid), "-U", "--preserve-credentials", "-n", "-m",
      "--wd=" .. lfs.currentdir() }
    servers = start_servers(world, within)
    hosts = world:write("hosts", "127.0.0.2 moving.test\n")
    dns = world:start({
      "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv",
      "--no-hosts", "--pid-file=", "--local=/test/", "--addn-hosts=" .. hosts, "--local-ttl=0",
      "--host-record=two.test,127.0.0.2", "--host-record=three.test,127.0.0.3",
      "--host-record=six.test,::ffff:127.0.0.3", "--host-record=v6.test,::1",
      "--cname=alias.test,three.test", "--cname=good.test,two.test",
      "--address=/both.test/127.0.0.3", "--log-facility=-",
    }, { env = { "PATH=" .. os.getenv("PATH") .. ":/usr/sbin" }, within = within })
    e2e.wait_until("dnsmasq", function()
      if not dns:alive() then error("dnsmasq does not start: " .. dns:err()) end
      return dns:err():find("read " .. hosts, 1, true)
    end)
    node = world:node({ workers = 1, allow_hosts = "127.0.0.2", within = within,
      url = "ipc://" .. world:path("node") })
  end)
  teardown(function()
    if world then world:close() end
  end)

  local function test(name, f)
    it(name, function()
      if not has_names then return pending("this system lets us make no namespaces") end
      f()
    end)
  end

  local function fetch(url)
    local run = world:run({ "eval", "--peers", node.address, [[
      local response, err = http.get(..., { timeout = 20 })
      return response and response.body or err.kind .. ": " .. err.message]], url },
      { within = within })
    assert.equal(0, run.code, run.err)
    return (run.out:gsub("\n$", ""))
  end

  local function at(host, port)
    return ("http://%s:%d/"):format(host, port or servers.port)
  end

  local function refuses(url, address)
    assert.matches(("jobs may not reach %s (loopback) here"):format(address), fetch(url), 1, true)
  end

  test("are judged by the addresses that they have", function()
    assert.equal("two", fetch(at("two.test")))
    refuses(at("three.test"), "127.0.0.3")
    refuses(at("v6.test"), "::1")
    refuses(at("six.test"), "::ffff:127.0.0.3")
    assert.matches("jobs may not reach [%x.:]+ %(loopback%) here", fetch(at("localhost")))
    assert.equal("", servers.reached())
  end)

  test("are judged behind an alias", function()
    assert.equal("two", fetch(at("good.test")))
    refuses(at("alias.test"), "127.0.0.3")
    refuses(("http://127.0.0.2:%d/to/alias.test:%d/"):format(servers.port, servers.port),
      "127.0.0.3")
    assert.equal("", servers.reached())
  end)

  test("are judged anew when their address changes", function()
    assert.equal("two", fetch(at("moving.test")))
    world:write("hosts", "127.0.0.3 moving.test\n")
    dns:kill("HUP")
    e2e.wait_until("the new address", function()
      return select(2, dns:err():gsub("read " .. hosts:gsub("%p", "%%%0"), "")) >= 2
    end)
    -- another port, as libcurl keeps the address of a name and a port for a minute
    refuses(at("moving.test", servers.other), "127.0.0.3")
    refuses(("http://moving.test:%d/to/moving.test.:%d/"):format(servers.port, servers.other),
      "127.0.0.3")
    assert.equal("", servers.reached())
  end)
end)

describe("--allow-hosts", function()
  local world, servers
  setup(function()
    world = e2e.new()
    servers = start_servers(world)
  end)
  teardown(function() world:close() end)

  local function kind_of(words, env)
    local words_after = { ("local r, e = http.get('http://127.0.0.3:%d/') return r and r.body or "
      .. "e.kind"):format(servers.port) }
    local run = world:run(table.move(words_after, 1, 1, #words + 1, words), { env = env })
    return run.code == 0 and run.out:gsub("\n$", "") or run.err
  end

  it("is loopback and private networks on a private node", function()
    assert.equal("three", kind_of({ "eval" }))
    assert.equal("refused", kind_of({ "eval", "--allow-hosts", "none" }))
    assert.equal("refused", kind_of({ "eval", "--allow-hosts", "private,127.0.0.2" }))
    assert.equal("three", kind_of({ "eval", "--allow-hosts", "all" }))
    assert.equal("refused", kind_of({ "eval" }, { "MOONFLEET_ALLOW_HOSTS=private" }))
    assert.equal("three", kind_of({ "eval", "--allow-hosts=loopback" },
      { "MOONFLEET_ALLOW_HOSTS=private" }))
  end)

  it("holds for a driver script, too", function()
    local script = world:write("driver.lua", [[
      local response, err = require("fleet.http").get(arg[1])
      io.write(response and response.body or err.kind)]])
    local url = ("http://127.0.0.3:%d/"):format(servers.port)
    assert.equal("three", world:run({ "run", script, url }).out)
    local run = world:run({ "run", "--allow-hosts", "none", script, url })
    assert.equal("refused", run.out, run.err)
  end)

  it("is nothing on a node, unless it is set in some place", function()
    local config = world:write("config.lua",
      "return { allow_hosts = { '127.0.0.2', '127.0.0.3' } }")
    for _, case in ipairs({
      { "refused", {} }, { "three", { "--allow-hosts", "127.0.0.0/8" } },
      { "three", {}, { "MOONFLEET_ALLOW_HOSTS=127.0.0.3" } }, { "three", { "--config", config } },
      { "refused", { "--config", config }, { "MOONFLEET_ALLOW_HOSTS=127.0.0.1" } },
    }) do
      local path = world:path("socket")
      local serve = { "serve", "--workers", "1", "--listen", "ipc://" .. path }
      local node = world:program(table.move(case[2], 1, #case[2], #serve + 1, serve),
        { env = case[3] })
      e2e.wait_until("the node", function() return node:err():find("node ready", 1, true) end)
      assert.equal(case[1], kind_of({ "eval", "--peers", "ipc://" .. path }))
      node:kill("TERM")
      assert.equal(0, node:wait().code)
    end
  end)

  it("is refused where it is wrong, or has no effect", function()
    for _, case in ipairs({
      { { "serve", "--allow-hosts", "localhost" }, "--allow-hosts takes addresses, networks such "
        .. "as 10.0.0.0/8, and the words loopback, private, link-local, metadata, all and none, "
        .. "got 'localhost'" },
      { { "eval", "--allow-hosts", "10.0.0.1/8", "1" }, "the network is 10.0.0.0/8" },
      { { "serve", "--allow-hosts", "0.0.0.0/0" }, "'0.0.0.0/0' is too wide" },
      { { "repl", "--allow-hosts", "loopback,1.1.1.1" }, "'1.1.1.1' is public" },
      { { "eval", "--peers", "127.0.0.1:1", "--allow-hosts", "all", "1" }, "--allow-hosts is for "
        .. "the private node and --ssh; with --peers each node has its own: moonfleet serve "
        .. "--allow-hosts" },
      { { "nodes", "--allow-hosts", "all" }, "--allow-hosts is a flag of run" },
    }) do
      local run = world:run(case[1])
      assert.equal(2, run.code, run.err)
      assert.matches("^moonfleet: [^\n]+\n$", run.err)
      assert.matches(case[2], run.err, 1, true)
    end
  end)
end)
