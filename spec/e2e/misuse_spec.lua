-- SPDX-License-Identifier: MIT
-- Misuse of the library is reported at the line of the call, whichever file of the library detects
-- it. Calls every public function with a wrong argument, from a known line.
local e2e = require("spec.support.e2e")

-- One call of each function; functions that take any value are in ANY.
local CALLS = {
  ["fleet.all"] = { "fleet.all(1)", "fleet.all({ 1 })" },
  ["fleet.call"] = { "fleet.call(1, print)", "fleet.call(fleet.any, 1)", "fleet.call()" },
  ["fleet.cast"] = { "fleet.cast({}, print)", "fleet.cast(fleet.any)" },
  ["fleet.each"] = { "fleet.each(1, {})", "fleet.each(print, 1)", "fleet.each(print, { a = 1 })",
    "fleet.each(print, {}, { ordre = true })", "fleet.each(print, {}, 1)" },
  ["fleet.everywhere"] = { "fleet.everywhere('x')" },
  ["fleet.multicall"] = { "fleet.multicall({})" },
  ["fleet.parallel_eval"] = { "fleet.parallel_eval(1)", "fleet.parallel_eval({ 1 })",
    "fleet.parallel_eval({ {} })", "fleet.parallel_eval({}, { order = true })" },
  ["fleet.pmap"] = { "fleet.pmap({}, print)", "fleet.pmap(print, 1)",
    "fleet.pmap(print, { 1, nil, 3, n = 3 })", "fleet.pmap(print, { x = 1 })",
    "fleet.pmap(print, {}, { timeout = -1 })" },
  ["fleet.progress"] = { "fleet.progress(1)" },
  ["fleet.race"] = { "fleet.race({})", "fleet.race('x')" },
  ["fleet.send"] = { "fleet.send(nil, print)", "fleet.send(fleet.any, 'x')" },
  ["fleet.sleep"] = { "fleet.sleep(-1)", "fleet.sleep()", "fleet.sleep(0/0)", "fleet.sleep({})",
    "table.sort({ 2, 1 }, function() fleet.sleep(0) end)" },
  ["fleet.with"] = { "fleet.with({ timeout = 0 })", "fleet.with(1)",
    "fleet.with({ timeout = 1 }).call(1)" },
  ["fleet.digest.hmac_sha256"] = { "digest.hmac_sha256('k')", "digest.hmac_sha256({}, 's')" },
  ["fleet.digest.sha256"] = { "digest.sha256()", "digest.sha256({})" },
  ["fleet.http.get"] = { "http.get()", "http.get('http://x', { timeot = 1 })", "http.get('x', 1)",
    "http.get('x', { headers = { a = { {} } } })",
    "('x'):gsub('x', function() http.get('http://127.0.0.1:1') end)" },
  ["fleet.http.post"] = { "http.post('x')", "http.post({}, 'b')" },
  ["fleet.http.request"] = { "http.request()", "http.request('GET', 1)",
    "http.request('G T', 'http://x')", "http.request('GET', 'http://x', { headers = 1 })" },
  ["fleet.http.sha256"] = { "http.sha256({})", "http.sha256('x', { body = 'x' })" },
  ["fleet.json.decode"] = { "json.decode()", "json.decode({})" },
  ["fleet.json.encode"] = { "json.encode()" },
  ["fleet.json.encode_record"] = { "json.encode_record('a')", "json.encode_record(1, 2)" },
  ["fleet.log.debug"] = { "log.debug()" },
  ["fleet.log.error"] = { "log.error({})", "log.error('x', 1)" },
  ["fleet.log.info"] = { "log.info(nil, {})" },
  ["fleet.log.warn"] = { "log.warn(print)" },
  ["fleet.rpc.abcast"] = { "rpc.abcast(1, print)", "rpc.abcast(nil, 1)" },
  ["fleet.rpc.async_call"] = { "rpc.async_call('n', 'os', 'date')", "rpc.async_call(1, print)" },
  ["fleet.rpc.call"] = { "rpc.call('local', 'os', 'date')", "rpc.call(1, print)",
    "rpc.call(fleet.any, print, 1)", "rpc.call(fleet.any, print, {}, 0)" },
  ["fleet.rpc.cast"] = { "rpc.cast('n')", "rpc.cast(fleet.any, print, 'x')" },
  ["fleet.rpc.eval_everywhere"] = { "rpc.eval_everywhere(nil, 'x')" },
  ["fleet.rpc.multicall"] = { "rpc.multicall('n', print)", "rpc.multicall(nil, {})",
    "rpc.multicall(nil, print, nil, 'x')" },
  ["fleet.rpc.nb_yield"] = { "rpc.nb_yield()", "rpc.nb_yield(1, 1)" },
  ["fleet.rpc.parallel_eval"] = { "rpc.parallel_eval()", "rpc.parallel_eval({ 1 })" },
  ["fleet.rpc.pmap"] = { "rpc.pmap()", "rpc.pmap(print, 1, {})", "rpc.pmap(print, nil, 1)" },
  ["fleet.rpc.yield"] = { "rpc.yield({})" },
  ["fleet.xml.html"] = { "xml.html()", "xml.html('', { max_bytes = 0 })" },
  ["fleet.xml.parse"] = { "xml.parse({})", "xml.parse('', 1)" },
}
local ANY = {
  ["fleet.nodes"] = true, ["fleet.self"] = true, ["fleet.digest.new"] = true,
  ["fleet.json.lines"] = true,
}
-- Methods, wrong selves, and unknown fields.
local OTHERS = {
  "digest.new():update({})", "digest.new().hex()", "digest.new().update(io.stdout, 'x')",
  "json.lines():add('a')", "json.lines():add(1, 2)", "json.lines().take({})",
  "xml.parse('<a/>'):xpath()", "xml.parse('<a/>'):xpath('//a', 1)", "xml.parse('<a/>').root(1)",
  "xml.parse('<a/>'):root():attr()",
  "future:wait(-1)", "future.wait()", "future.check(1)", "future.failed({})", "future.progress()",
  "future.cancel('x')",
  "fleet.map(print, {})", "print(json.null)", "http.fetch('x')", "rpc.pinfo()", "log.warning('x')",
}

local PROLOGUE = [[
local fleet, digest, http = require("fleet"), require("fleet.digest"), require("fleet.http")
local json, log, rpc = require("fleet.json"), require("fleet.log"), require("fleet.rpc")
local xml = require("fleet.xml")
local future = fleet.all({})
local function try(f)
  local ok, message = pcall(f)
  print(ok, (tostring(message):gsub("^.*/", "")))
end
]]

describe("misuse of the library", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local list = {}
  for _, calls in pairs(CALLS) do
    for _, call in ipairs(calls) do list[#list + 1] = call end
  end
  for _, call in ipairs(OTHERS) do list[#list + 1] = call end
  table.sort(list)

  it("is tried for every public function", function()
    for _, name in ipairs({
      "fleet", "fleet.digest", "fleet.http", "fleet.json", "fleet.log", "fleet.rpc", "fleet.xml",
    }) do
      for field, value in pairs(require(name)) do
        local full = name .. "." .. field
        if type(value) == "function" and not ANY[full] then
          assert.is_table(CALLS[full], "no wrong call of " .. full)
        end
      end
    end
  end)

  -- The calls, each in its own function on its own line, below the prologue.
  local function script_of(before, calls, after)
    local lines = { PROLOGUE .. before }
    for _, call in ipairs(calls) do lines[#lines + 1] = ("try(function() %s end)"):format(call) end
    lines[#lines + 1] = after
    return world:write("wrong.lua", table.concat(lines, "\n"))
  end

  local function check(printed, calls, first)
    local lines = e2e.lines(printed)
    assert.equal(#calls, #lines, printed)
    for i, call in ipairs(calls) do
      local expected = ("false\twrong.lua:%d: "):format(first + i - 1)
      assert.equal(expected, lines[i]:sub(1, #expected), call .. "\n" .. lines[i])
    end
  end

  local first = select(2, PROLOGUE:gsub("\n", "")) + 1

  it("raises at the line of the call, in a driver script", function()
    local run = world:run({ "run", script_of("", list, "") })
    assert.equal(0, run.code, run.err)
    check(run.out, list, first + 1)
  end)

  it("raises there in a task", function()
    local calls = {}
    for _, call in ipairs(list) do
      if not call:find("fleet.progress", 1, true) then calls[#calls + 1] = call end
    end
    local run = world:run({
      "run", script_of("return { map = function()", calls, "end }"), "--items", "x",
    })
    assert.equal(0, run.code, run.err)
    check(run.err:gsub("%[[^%]]+%] ", ""):gsub("\n1 item.*", "\n"), calls, first + 1)
  end)

  it("shows the frames of the script, and none of the library", function()
    local path = world:write("d.lua", [[
local rpc = require("fleet.rpc")
local function ask()
  rpc.call("local", "os", "date")
end
local ok = ask()
]])
    local run = world:run({ "run", path })
    assert.equal(1, run.code)
    assert.equal(([[
moonfleet: %s:3: rpc.call: a function expected, got string
stack traceback:
	[C]: in function 'error'
	%s:3: in upvalue 'ask'
	%s:5: in main chunk
]]):format(path, path, path), (run.err:gsub("in local 'ask'", "in upvalue 'ask'")
      :gsub("in global 'error'", "in function 'error'"))) -- as Lua 5.5 has it
  end)

  it("shows no tail call of the library's either", function()
    local path = world:write("d.lua", "local fleet = require('fleet')\nfleet.call(nil, print)\n")
    local run = world:run({ "run", path })
    assert.matches("^moonfleet: [^\n]+\nstack traceback:\n\t%[C%]: [^\n]+\n"
      .. "\t[^\n]*d.lua:2: in main chunk\n$", run.err)
  end)

  it("shows the same of code that runs on nodes, and at the prompt", function()
    local job = world:write("job.lua", [[
local fleet = require("fleet")
local function ask() local list = fleet.pmap({ 1 }, print) return list end
return {
  map = function(x)
    if x == "direct" then local list = ask() return list end
    return fleet.pmap({ 1 }, print)
  end,
}
]])
    local run = world:run({ "run", job, "--items", "direct", "tail call" })
    local rows = e2e.results(run.out)
    assert.matches("^stack traceback:\n\t%[C%]: in [^\n]*\n\t[^\n]*job.lua:2: in [^\n]*'ask'\n"
      .. "\t[^\n]*job.lua:5: in [^\n]*$", rows[1].error.traceback)
    assert.matches("^stack traceback:\n\t%[C%]: in [^\n]*$", rows[2].error.traceback)
    local code = "local function f() local list = fleet.pmap({}, 1) return list end\nlocal x = f()"
    for _, done in ipairs({
      world:run({ "eval", code }),
      world:run({ "repl" }, {
        stdin = world:write("in", code:gsub("\n", " ") .. "\n"), env = { "MOONFLEET_HISTORY=" },
      }),
    }) do
      assert.matches("1: fleet.pmap: a function expected, got table.*\n.*in [^\n]*'f'\n", done.err)
      assert.not_matches("lua/fleet", done.err)
    end
  end)

  it("keeps the frames of the library where it is at fault itself", function()
    local task = require("host.task")
    local library = assert(load("error('broken')", "@lua/fleet/some.lua"))
    local ok, message, traceback = task.start(library):join()
    assert.is_false(ok)
    assert.equal("lua/fleet/some.lua:1: broken", message)
    assert.matches("lua/fleet/some.lua:1: in", traceback, 1, true)
    ok, message, traceback = task.start(function()
      local f = assert(load("error('user', 0)", "@lua/fleet/some.lua"))
      f()
      task.yield()
    end):join()
    assert.is_false(ok)
    assert.equal("user", message)
    assert.matches("misuse_spec.lua:", traceback, 1, true)
    assert.not_matches("lua/fleet", traceback)
  end)

  it("names the field that was meant", function()
    for code, message in pairs({
      ["fleet.map(print, {})"] = "fleet has no field 'map'; did you mean fleet.pmap?",
      ["require('fleet.json').parse('')"] = "fleet.json has no field 'parse'",
      ["fleet.with({ timeout = 1 }).pmap(print, {})"] = "fleet.with(...) has no field 'pmap'",
      ["fleet.with({ timeout = 1 }).multical(print)"] = "did you mean fleet.with(...).multicall?",
      ["require('fleet.http').gett('')"] = "did you mean fleet.http.get?",
    }) do
      local path = world:write("d.lua", "local fleet = require('fleet')\n" .. code)
      local run = world:run({ "run", path })
      assert.equal(1, run.code)
      assert.matches(":2: [^\n]*" .. message:gsub("%p", "%%%0"), run.err)
    end
  end)
end)
