-- SPDX-License-Identifier: MIT
-- A job that replaces Lua's own functions harms its own code, and not the library's.

local e2e = require("spec.support.e2e")
local json = require("fleet.json")

-- Damages the globals of the worker in one call, and uses the whole library in the next. Prints the
-- error of each function by its name, and "" for functions that worked.
local SCRIPT = [[
local fleet = require("fleet")
local URL = arg[1]
fleet.call(fleet.any, function()
  local error, next, rawset, type = error, next, rawset, type
  local modules = { "fleet", "fleet.digest", "fleet.errors", "fleet.http", "fleet.json",
    "fleet.log", "fleet.rpc", "fleet.xml" }
  local damaged = { _G, string, table, math, utf8, coroutine, os, debug, io }
  for i = 1, #modules do damaged[#damaged + 1] = require(modules[i]) end
  used_later = { next = next, pcall = pcall, tostring = tostring, require = require,
    type = type, stdout = io.stdout, getmetatable = getmetatable }
  for i = 1, #damaged do
    local keys, n = {}, 0
    for key, value in next, damaged[i] do
      if type(value) == "function" then keys[n + 1], n = key, n + 1 end
    end
    for k = 1, n do
      rawset(damaged[i], keys[k], function() error("damaged: " .. keys[k]) end)
    end
  end
end)
local report, err = fleet.call(fleet.any, function()
  local next, pcall, tostring, type = used_later.next, used_later.pcall, used_later.tostring,
    used_later.type
  local report = {}
  -- modules required before are damaged: use the library as it is when required anew
  package.loaded.fleet = nil
  local names = { "digest", "errors", "http", "json", "log", "rpc", "xml" }
  for i = 1, #names do package.loaded["fleet." .. names[i] ] = nil end
  local require = used_later.require
  local fleet, digest, errors = require("fleet"), require("fleet.digest"), require("fleet.errors")
  local http, json, log = require("fleet.http"), require("fleet.json"), require("fleet.log")
  local rpc, xml = require("fleet.rpc"), require("fleet.xml")
  local function try(name, f)
    local ok, good = pcall(f)
    report[name] = ok and (good and "" or "wrong result: " .. tostring(good)) or tostring(good)
  end
  local function add(a, b) return a + (b or 1) end
  local any = fleet.any
  -- their results have no metatable that could be damaged
  local _, failed = xml.parse("<")
  local objects = { any, fleet, http, fleet.send(any, add, 1), digest.new(), xml.parse("<a/>"),
    xml.parse("<a/>"):root(), json.lines(), errors.new({ kind = "k", message = "m" }), failed }
  for i = 1, #objects do
    local metatable = used_later.getmetatable(objects[i])
    report["metatable of object " .. i] = metatable and tostring(metatable) or ""
  end
  try("fleet.self", function() return fleet.self() end)
  try("fleet.progress", function() fleet.progress("x") return true end)
  try("fleet.sleep", function() fleet.sleep(0.001) return true end)
  try("fleet.pmap", function() return fleet.pmap(add, { 1, 2 })[2] == 3 end)
  try("fleet.everywhere", function() return fleet.everywhere(add, 1) end)
  try("fleet.send", function() return fleet.send(any, add, 1):wait() == 2 end)
  try("fleet.multicall", function() return next((fleet.multicall(add, 1))) end)
  try("fleet.race", function() return fleet.race({ fleet.send(any, add, 1) }):wait() == 1 end)
  try("fleet.all", function() return fleet.all({ fleet.send(any, add, 1) }):wait()[1] == 2 end)
  try("fleet.with", function() return fleet.with({ timeout = 5 }).call(any, add, 1) == 2 end)
  try("fleet.parallel_eval", function() return fleet.parallel_eval({ { add, 1 } })[1] == 2 end)
  try("fleet.nodes", function() return fleet.nodes()[1].name end)
  try("fleet.each", function()
    local sum = 0
    for _, value in fleet.each(add, { 1, 2 }) do sum = sum + value end
    return sum == 5
  end)
  try("fleet.call", function() return fleet.call(any, add, 1) == 2 end)
  try("fleet.cast", function() return fleet.cast(any, add, 1) end)
  try("fleet.digest.sha256", function() return #digest.sha256("x") == 64 end)
  try("fleet.digest.hmac_sha256", function() return digest.hmac_sha256("k", "x") end)
  try("fleet.digest.new", function() return #digest.new():update("x"):hex() == 64 end)
  local failure = errors.new({ kind = "mine", message = "m" })
  try("fleet.errors.new", function() return tostring(failure) == "mine: m" end)
  try("fleet.errors.format", function()
    return errors.format("mine", "%s", "m").message == "m"
  end)
  try("fleet.errors.formatter", function()
    return errors.formatter("mine")("%d", 1).message == "1"
  end)
  try("fleet.errors.wrap", function()
    return errors.is(errors.wrap({ kind = "k", message = "m" }))
  end)
  try("fleet.errors.is", function() return errors.is(failure) end)
  try("fleet.errors.text", function() return errors.text(failure) == "mine: m" end)
  try("fleet.errors.cannot_begin", function()
    local ok, raised = pcall(errors.cannot_begin, failure)
    return not ok and raised == failure
  end)
  try("fleet.errors.is_unstartable", function() return errors.is_unstartable(failure) end)
  try("fleet.http.get", function() return http.get(URL).status == 200 end)
  try("fleet.http.sha256", function() return #http.sha256(URL).sha256 == 64 end)
  try("fleet.http.post", function() return http.post(URL, "x").status end)
  try("fleet.http.request", function() return http.request("HEAD", URL).status == 200 end)
  try("fleet.json.encode", function() return json.encode({ { a = 2 } }) == '[{"a":2}]' end)
  try("fleet.json.decode", function() return json.decode("[1,2]")[2] == 2 end)
  try("fleet.json.encode_record", function() return json.encode_record("a", 1) == '{"a":1}' end)
  try("fleet.json.lines", function() return json.lines() end)
  try("fleet.log.debug", function() log.debug("m", { a = 1 }) return true end)
  try("fleet.log.info", function() log.info("m", { a = 1 }) return true end)
  try("fleet.log.warn", function() log.warn("m", { a = 1 }) return true end)
  try("fleet.log.error", function() log.error("m", { a = 1 }) return true end)
  try("fleet.rpc.call", function() return rpc.call(any, add, { 1 }) == 2 end)
  try("fleet.rpc.cast", function() return rpc.cast(any, add, { 1 }) end)
  try("fleet.rpc.async_call", function() return rpc.yield(rpc.async_call(any, add, { 1 })) == 2 end)
  try("fleet.rpc.yield", function() return rpc.yield(rpc.async_call(any, add, { 1 })) == 2 end)
  try("fleet.rpc.nb_yield", function() return rpc.nb_yield(rpc.async_call(any, add, { 1 }), 5) end)
  try("fleet.rpc.multicall", function() return next((rpc.multicall(nil, add, { 1 }))) end)
  try("fleet.rpc.parallel_eval", function()
    return rpc.parallel_eval({ { add, { 1 } } })[1] == 2
  end)
  try("fleet.rpc.pmap", function() return rpc.pmap(add, { 10 }, { 1 })[1] == 11 end)
  try("fleet.rpc.eval_everywhere", function() return rpc.eval_everywhere(nil, add, { 1 }) end)
  try("fleet.rpc.abcast", function() return rpc.abcast(nil, add, { 1 }) end)
  try("fleet.xml.parse", function()
    return xml.parse("<a><b c='d'/>x</a>"):xpath("//b")[1]:attr("c") == "d"
  end)
  try("fleet.xml.html", function() return xml.html("<p>x<p>y"):text() == "xy" end)
  used_later.stdout:write("written\n")
  return report
end)
if not report then error(err) end
for _, name in ipairs({ "fleet", "fleet.digest", "fleet.errors", "fleet.http", "fleet.json",
  "fleet.log", "fleet.rpc", "fleet.xml" }) do
  for key, value in pairs(require(name)) do
    local full = name .. "." .. key
    if type(value) == "function" then report[full] = report[full] or "not used" end
  end
end
io.stdout:write(require("fleet.json").encode(report), "\n")
]]

describe("a job that replaces every function it can reach", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("leaves the library whole", function()
    local web = world:nginx()
    world:write("www/page", "x")
    local node = world:node({ workers = 1 }) -- one, so that it is the damaged one that is used
    local run = world:run({ "run", "--peers", node.address, world:write("damage.lua", SCRIPT), "--",
      web.url .. "/page" })
    assert.equal(0, run.code, run.err)
    local report = json.decode(run.out:match("[^\n]*\n$"))
    local wrong = {}
    for name, text in pairs(report) do
      if text ~= "" then wrong[#wrong + 1] = name .. ": " .. text end
    end
    table.sort(wrong)
    assert.same({}, wrong)
    assert.matches("written", run.out .. run.err .. node:err(), 1, true)
  end)
end)
