-- SPDX-License-Identifier: MIT
-- Erlang's rpc module, under its names, on top of the library (see fleet). A Lua function takes the
-- place of Erlang's Module and Function, and arguments are one list; {badrpc, Reason} becomes nil
-- and an error. Unlike in Erlang, no call waits for ever (60 s, or the given timeout), and results
-- of several nodes are by name of the node.
--
--   Erlang                                  here
--   rpc:call(N, M, F, As, T)                rpc.call(n, f, as, t)        fleet.call
--   rpc:cast(N, M, F, As)                   rpc.cast(n, f, as)           fleet.cast
--   rpc:async_call(N, M, F, As)             rpc.async_call(n, f, as)     fleet.send
--   rpc:yield(Key)                          rpc.yield(key)               future:wait
--   rpc:nb_yield(Key, T)                    rpc.nb_yield(key, t)         future:wait(t)
--   rpc:multicall(Ns, M, F, As, T)          rpc.multicall(ns, f, as, t)  fleet.multicall
--   rpc:parallel_eval(FuncCalls)            rpc.parallel_eval(calls)     fleet.parallel_eval
--   rpc:pmap({M, F}, Extra, List)           rpc.pmap(f, extra, list)     fleet.pmap
--   rpc:eval_everywhere(Ns, M, F, As)       rpc.eval_everywhere(ns, f, as)
--   rpc:abcast(Ns, Name, Msg)               rpc.abcast(ns, f, as)        f in place of a process

local check = require("fleet.base.check")
local fleet = require("fleet")
local future = require("fleet.base.future")
local source_cache = require("fleet.ship.source_cache")

local rpc = {}

local misuse = check.misuse

-- Checks the function and then the list of arguments, so that a module and a function as in Erlang
-- are recognised; returns the arguments as several values.
local function unpack_args(what, f, args)
  check.callable(what, f)
  if args ~= nil and type(args) ~= "table" then
    misuse("%s: arguments must be a list, got %s", what, type(args))
  end
  return table.unpack(args or {}, 1, check.length(args or {}))
end

local function check_nodes(what, nodes)
  if nodes ~= nil and type(nodes) ~= "table" then
    misuse("%s: a list of nodes expected (nil: all), got %s", what, type(nodes))
  end
end

local function check_key(what, key)
  if not future.is(key) then
    misuse("%s: a key of rpc.async_call expected, got %s", what, type(key))
  end
end

local function with(what, timeout)
  if timeout == nil then return fleet end
  local ok, message = check.positive(timeout)
  if not ok then misuse("%s: the timeout %s", what, message) end
  return fleet.with({ timeout = timeout })
end

--- Runs a function on a node: its values, or nil and an error.
---@param node string|fleet.NodeInfo
---@param f function
---@param args any[]|nil
---@param timeout number|nil seconds (default: 60)
---@return any ...
function rpc.call(node, f, args, timeout)
  return with("rpc.call", timeout).call(node, f, unpack_args("rpc.call", f, args))
end

--- Starts a function on a node: true as soon as it has begun there, or nil and an error.
---@param node string|fleet.NodeInfo
---@param f function
---@param args any[]|nil
---@return true|nil
---@return fleet.Error|nil
function rpc.cast(node, f, args)
  return fleet.cast(node, f, unpack_args("rpc.cast", f, args))
end

--- Begins a call; the key is for yield and nb_yield.
---@param node string|fleet.NodeInfo
---@param f function
---@param args any[]|nil
---@return fleet.Future|nil key, or nil and an error
---@return fleet.Error|nil
function rpc.async_call(node, f, args)
  return fleet.send(node, f, unpack_args("rpc.async_call", f, args))
end

--- Waits for the result of an async_call and returns it as rpc.call does.
---@param key fleet.Future
---@return any ...
function rpc.yield(key)
  check_key("rpc.yield", key)
  return key:wait()
end

--- The result of an async_call if it is there, or arrives within `timeout` (default: 0) seconds.
---@param key fleet.Future
---@param timeout number|nil
---@return boolean whether there is a result; then what rpc.call returns
---@return any ...
function rpc.nb_yield(key, timeout)
  check_key("rpc.nb_yield", key)
  if timeout ~= nil and not check.non_negative(timeout) then
    misuse("rpc.nb_yield: the timeout must be a number of at least 0, in seconds")
  end
  if not key:check() and timeout and timeout > 0 then key:wait(timeout) end
  if not key:check() then return false end
  return true, key:wait()
end

local function each_node(nodes)
  if nodes ~= nil then return nodes end
  local names, list, err = {}, fleet.nodes()
  if not list then return nil, err end
  for _, n in ipairs(list) do
    if n.state == "ready" then names[#names + 1] = n.name end
  end
  return names
end

--- Runs a function on several nodes (nil: all; those that are not ready are failures).
---@param nodes string[]|nil
---@param f function
---@param args any[]|nil
---@param timeout number|nil seconds (default: 60)
---@return table<string, any>|nil results the first value of each, by name; or nil and an error
---@return table<string, fleet.Error>|fleet.Error failures by name
function rpc.multicall(nodes, f, args, timeout)
  check_nodes("rpc.multicall", nodes)
  local list = table.pack(unpack_args("rpc.multicall", f, args))
  local api = with("rpc.multicall", timeout)
  if nodes == nil then return api.multicall(f, table.unpack(list, 1, list.n)) end
  local futures, results, failures = {}, {}, {}
  for _, name in ipairs(nodes) do
    local call, err = api.send(name, f, table.unpack(list, 1, list.n))
    if not call then return nil, err end
    futures[name] = call
  end
  for name, call in pairs(futures) do
    local value, failure = call:wait()
    if call:failed() then
      failures[name] = failure
    else
      results[name] = value
    end
  end
  return results, failures
end

--- Runs calls, each {f, args}, on the nodes; returns their first values in order, errors in their
--- places.
---@param calls table[]
---@return any[]|nil
---@return integer|fleet.Error
function rpc.parallel_eval(calls)
  if type(calls) ~= "table" then
    misuse("rpc.parallel_eval: a list of {f, args} expected, got %s", type(calls))
  end
  local flat = {}
  for i = 1, check.length(calls) do
    local call = calls[i]
    if type(call) ~= "table" or type(call[1]) ~= "function" then
      misuse("rpc.parallel_eval: element %d is no {f, args}", i)
    end
    flat[i] = table.pack(call[1], unpack_args("rpc.parallel_eval", call[1], call[2]))
  end
  return fleet.parallel_eval(flat)
end

-- Loaded from a text of its own, because a function needs one to travel.
local with_extra = assert(source_cache.load([[
local f, extra, n = ...
local function rest(i)
  if i <= n then return extra[i], rest(i + 1) end
end
return function(element) return f(element, rest(1)) end
]], "=fleet.rpc.pmap"))

--- Runs f(element, extra...) on the nodes for each element and returns the results in order. As in
--- Erlang, the first error ends the map and is raised. (fleet.pmap leaves errors in their places.)
---@param f function
---@param extra any[]|nil
---@param list any[]
---@return any[]
function rpc.pmap(f, extra, list)
  local more = table.pack(unpack_args("rpc.pmap", f, extra))
  local results, err, ended = fleet.pmap(with_extra(f, more, more.n), list,
    { on_error = function(e) error(e, 0) end })
  if not results or ended then error(ended or err, 2) end
  return results
end

--- Starts a function on several nodes (nil: all that are ready); its results are dropped.
---@param nodes string[]|nil
---@param f function
---@param args any[]|nil
---@return true|nil accepted by all, or nil and the first error
---@return fleet.Error|nil
function rpc.eval_everywhere(nodes, f, args)
  check_nodes("rpc.eval_everywhere", nodes)
  local list = table.pack(unpack_args("rpc.eval_everywhere", f, args))
  local names, err = each_node(nodes)
  if not names then return nil, err end
  local first
  for _, name in ipairs(names) do
    local ok, failure = fleet.cast(name, f, table.unpack(list, 1, list.n))
    if not ok then first = first or failure end
  end
  return not first or nil, first
end

--- As eval_everywhere. Erlang sends a message to a registered process of each node; there are no
--- such processes here, so a function takes the place of the message.
rpc.abcast = rpc.eval_everywhere

return check.module("fleet.rpc", rpc)
